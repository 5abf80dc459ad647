"""What cells said of each image, read once and kept small: codes instead of names, no logits."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from carft.store.records import Store

THREADS = 4


@dataclass(frozen=True, eq=False)
class Frame:
    """The images of a set, shared by all cells that were evaluated on them.

    images: names, in the order of the first cell read. groups: (N,) codes into group_names. labels, contexts: (N,),
    contexts -1 where unknown.
    """

    images: pa.Array
    groups: np.ndarray
    group_names: np.ndarray
    labels: np.ndarray
    contexts: np.ndarray


@dataclass(frozen=True, eq=False)
class SetOutcome:
    """A cell's predictions on a set, in the frame's order: classes and contexts (N,)."""

    frame: Frame
    predicted: np.ndarray
    predicted_contexts: np.ndarray

    @property
    def hits(self) -> np.ndarray:
        """(N,) whether the class is right."""
        return self.predicted == self.frame.labels

    @property
    def context_hits(self) -> np.ndarray:
        """(N,) whether the context is right; false where it is not known."""
        return self.predicted_contexts == self.frame.contexts


@dataclass
class Reader:
    """Reads prediction files of a results folder; each file once."""

    store: Store
    _frames: dict[tuple[str, str], list[Frame]] = field(default_factory=dict)
    _outcomes: dict[tuple[str, str], SetOutcome] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS))

    def outcome(self, cell: str, task: str, name: str) -> SetOutcome:
        """Outcome of a cell on a set of its task; ``UserError`` when the file is corrupt."""
        if (cell, name) not in self._outcomes:
            self.read(cell, task, [name])
        return self._outcomes[cell, name]

    def read(self, cell: str, task: str, names: Sequence[str]) -> None:
        """Read a cell's sets side by side: Arrow decodes outside the interpreter. ``UserError`` when one is corrupt."""
        wanted = [name for name in names if (cell, name) not in self._outcomes]
        tables = list(self._threads.map(lambda name: self.store.prediction_table(cell, name), wanted))
        for name, table in zip(wanted, tables, strict=True):
            frame, order = self._frame(task, name, table)
            codes = [table[column].to_numpy().astype(np.int16) for column in ("pred", "context_pred")]
            self._outcomes[cell, name] = SetOutcome(frame, *(c if order is None else c[order] for c in codes))

    def _frame(self, task: str, name: str, table: pa.Table) -> tuple[Frame, np.ndarray | None]:
        """The known frame of the same images, with the order that brings these rows into its own; else a new one."""
        known = self._frames.setdefault((task, name), [])
        images = table["image"].combine_chunks()
        facts = [table[column].to_numpy().astype(np.int16) for column in ("label", "context")]
        for frame in known:
            if frame.images.equals(images):
                order = None
            elif len(frame.images) == len(images) and set(frame.images.to_pylist()) == set(images.to_pylist()):
                place = {image: row for row, image in enumerate(images.to_pylist())}
                order = np.array([place[image] for image in frame.images.to_pylist()])
            else:
                continue
            labels, contexts = (f if order is None else f[order] for f in facts)
            if np.array_equal(frame.labels, labels) and np.array_equal(frame.contexts, contexts):
                return frame, order
        names, codes = np.unique(np.asarray(table["group"].to_pylist()), return_inverse=True)
        known.append(Frame(images, codes.astype(np.int32), names, *facts))
        return known[-1], None
