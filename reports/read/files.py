"""What is read of a results folder on demand: predictions of cells, kept as long as memory allows, and histories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from carft.core.errors import UserError
from carft.core.metrics import Frame, Outcomes
from carft.store.predictions import codes_in, frame_of
from carft.store.records import Store
from reports.note import Note

Read = TypeVar("Read")
#: bytes of outcomes that stay in memory; those that were used least recently are read again
KEPT = 256 * 2**20


class Groups(NamedTuple):
    """Groups of images that depend on each other, of several sets."""

    codes: list[np.ndarray]
    """(N,) for each set: the group of each image."""
    strata: np.ndarray
    """(G,) the stratum of each group."""
    names: np.ndarray
    """(G,)"""


class CellFiles:
    """Outcomes and histories of the cells of a results folder. Cells that were evaluated on the same images share a
    frame. ``notes`` names what was asked for and cannot be read."""

    def __init__(self, store: Store) -> None:
        self.notes: list[Note] = []
        self._store = store
        self._readable: dict[tuple[str, tuple[str, ...]], bool] = {}
        self._frames: dict[tuple[str, str], list[Frame]] = {}
        self._outcomes: dict[str, dict[str, Outcomes]] = {}  # the cell that was used last comes last
        self._kept = 0  # bytes of them
        self._groups: dict[tuple[Frame, ...], Groups] = {}  # a few for each task

    def has_outcomes(self, cell: str, task: str, names: Sequence[str]) -> bool:
        """Whether the predictions of a cell on all these sets can be read. A corrupt file is named once."""
        asked = cell, tuple(names)
        if asked not in self._readable:
            read = partial(self.outcomes, cell, task, names)
            self._readable[asked] = readable("predictions", cell, read, self._store, self.notes) is not None
        return self._readable[asked]

    def history(self, cell: str) -> Mapping[str, np.ndarray]:
        """A cell's training history; empty when it was not trained or the file is corrupt."""
        return readable("history", cell, partial(self._store.history, cell), self._store, self.notes) or {}

    def outcomes(self, cell: str, task: str, names: Sequence[str]) -> list[Outcomes]:
        """Outcomes of a cell on sets of its task; ``UserError`` when a file is corrupt."""
        known = self._outcomes.pop(cell, {})
        self._outcomes[cell] = known
        unread = [name for name in names if name not in known]
        for name in unread:
            table = self._store.prediction_table(cell, name)
            frame, order = self._frame(task, name, table)
            classes, contexts = codes_in(table, "pred"), codes_in(table, "context_pred")
            if order is not None:
                classes, contexts = classes[order], contexts[order]
            known[name] = Outcomes(frame, classes, contexts)
            self._kept += known[name].nbytes
        while self._kept > KEPT and len(self._outcomes) > 1:
            oldest = next(iter(self._outcomes))
            self._kept -= sum(one.nbytes for one in self._outcomes.pop(oldest).values())
        return [known[name] for name in names]

    def groups_of(self, frames: tuple[Frame, ...]) -> Groups:
        """The groups of sets together; those of each combination of sets are computed once."""
        if frames not in self._groups:
            self._groups[frames] = _joined(frames)
        return self._groups[frames]

    def _frame(self, task: str, name: str, table: pa.Table) -> tuple[Frame, np.ndarray | None]:
        """The known frame of the same images, with the order that brings these rows into its own; else a new one."""
        frames = self._frames.setdefault((task, name), [])
        images = table["image"].combine_chunks()
        for frame in frames:
            labels, contexts, order = codes_in(table, "label"), codes_in(table, "context"), None
            if not frame.images.equals(images):
                order = _order_of(frame.images, images)
                if order is None:
                    continue
                labels, contexts = labels[order], contexts[order]
            if np.array_equal(frame.labels, labels) and np.array_equal(frame.contexts, contexts):
                return frame, order
        frames.append(frame_of(table))
        return frames[-1], None


def _joined(frames: tuple[Frame, ...]) -> Groups:
    """Groups of sets in one vocabulary.

    Groups that occur in the same sets form one stratum, such as the drawings of the test set and its renditions.
    """
    names, codes = np.unique(np.concatenate([f.group_names for f in frames]), return_inverse=True)
    is_in = np.zeros((len(names), len(frames)), dtype=bool)
    of_images = []
    for place, frame in enumerate(frames):
        of_frame, codes = np.split(codes, [len(frame.group_names)])
        is_in[of_frame, place] = True
        of_images.append(of_frame[frame.groups])
    _, strata = np.unique(is_in[:, ::-1], axis=0, return_inverse=True)
    return Groups(of_images, strata, names)


def _order_of(wanted: pa.Array, images: pa.Array) -> np.ndarray | None:
    """(N,) the rows that bring images into the wanted order; None where they are other images."""
    places = {image: row for row, image in enumerate(images.to_pylist())}
    if len(wanted) != len(images) or places.keys() != set(wanted.to_pylist()):
        return None
    return np.array([places[image] for image in wanted.to_pylist()])


def readable(what: str, where: str, read: Callable[[], Read], store: Store, notes: list[Note]) -> Read | None:
    """The content of a file; None where it cannot be read, which is added to the notes. what: the kind of file."""
    try:
        return read()
    except UserError as error:
        notes.append(corrupt(what, where, error, store))
        return None


def corrupt(what: str, where: str, error: UserError, store: Store) -> Note:
    """A file that cannot be read, without the folder that it lies in here."""
    return Note(f"corrupt {what}", error.message.replace(f"{store.root}/", "$RESULTS/"), where=where)
