"""Early stopping of search trials: the rule, and the note that a pruned trial leaves. No torch.

    cells/<id>/stopped.json     the validation curve of a pruned search cell; removed when the cell is done

A trial is pruned at a rung when its validation accuracy there is below the median of the trials of *earlier rounds* of
the same study that reached the rung. Which trial is pruned is therefore a function of records, not of the trials that
run at the same time. Vizier's rule (Golovin et al., KDD 2017) compares the best value of a trial so far with running
averages of completed trials. This rule compares the values at the rung, and pruned trials count: a median of the other
trials alone would rise from round to round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any

from pydantic import Field

from carft import NUMERICS
from carft.core.errors import corrupt
from carft.core.files import write_json
from carft.spec.cell import Cell
from carft.store.document import Document, Number, read_document, utc_now
from carft.store.records import Store

#: val/top1 after epoch 1, 2, ...
Curve = tuple[float, ...]
#: epoch -> lowest val/top1 with which a trial goes on
Thresholds = Mapping[int, float]
NO_THRESHOLDS: Thresholds = MappingProxyType({})
#: number of trials below which there is no threshold
FEWEST = 2


def thresholds_of(rungs: Sequence[int], earlier: Sequence[Curve]) -> dict[int, float]:
    """The median at each rung of the trials that reached it. A rung that too few trials reached has no threshold.

    Args:
        rungs: Epochs after which a trial may be pruned.
        earlier: Curves of the trials of earlier rounds; that of a pruned trial ends where it was pruned.
    """
    reached = {epoch: [curve[epoch - 1] for curve in earlier if len(curve) >= epoch] for epoch in rungs}
    return {epoch: median(values) for epoch, values in reached.items() if len(values) >= FEWEST}


def rungs_of(curves: Sequence[Curve | None], rungs: Sequence[int], round_size: int, epochs: int) -> list[int | None]:
    """The epoch after which each trial of a study is pruned, by trial number; None for a trial that is not.

    Args:
        curves: Curve of every trial, as long as it is known; None for a trial that failed.
        rungs: Epochs after which a trial may be pruned.
        round_size: Number of trials in a round.
        epochs: Number of epochs of a trial that is not pruned.
    """
    stops: list[int | None] = []
    earlier: list[Curve] = []
    for first in range(0, len(curves), round_size):
        limits = thresholds_of(rungs, earlier)
        for curve in curves[first : first + round_size]:
            stops.append(pruned_after(curve, limits) if curve else None)
        ended = zip(curves[first : first + round_size], stops[first:], strict=True)
        earlier += [curve[: stop or epochs] for curve, stop in ended if curve]
    return stops


def pruned_after(curve: Curve, limits: Thresholds) -> int | None:
    """The first epoch at which a trial is below its threshold; None for a trial that goes on."""
    behind = (epoch for epoch in sorted(limits) if epoch <= len(curve) and curve[epoch - 1] < limits[epoch])
    return next(behind, None)


def curve_of(history: Iterable[Mapping[str, float]]) -> Curve:
    """The validation curve of a history: one value for each epoch; empty for a method without epochs."""
    values = (row.get("val/top1", math.nan) for row in history)
    return tuple(value for value in values if not math.isnan(value))


@dataclass(frozen=True)
class PrunedTrial:
    """A pruned trial."""

    task: str
    """Name of the task."""
    curve: Curve
    """Validation curve up to the rung at which the trial was pruned."""

    @property
    def epochs(self) -> int:
        """Number of epochs that the trial was trained for."""
        return len(self.curve)

    @property
    def value(self) -> float:
        """``val/top1`` at the rung at which the trial was pruned, in [0, 1]."""
        return self.curve[-1]


class PruneNote(Document):
    """cells/<id>/stopped.json: the validation curve of a pruned search cell."""

    curve: tuple[Number, ...]
    """``val/top1`` after each epoch that the cell was trained for, in [0, 1]."""
    numerics: int
    """NUMERICS of the code that trained the cell."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Code version, packages, hardware and execution of the training."""
    finished_at: str = ""
    """Time at which the trial was pruned, in UTC, as ISO 8601; absent from files of earlier versions."""


def write_pruned(store: Store, cell: Cell, curve: Curve, provenance: Mapping[str, Any]) -> None:
    """Write that a search cell was pruned. Its folder holds no record."""
    note = PruneNote(curve=tuple(curve), numerics=NUMERICS, provenance=dict(provenance), finished_at=utc_now())
    with store.changing(f"cells/{cell.id}"):
        store.make(store.folder(cell.id))
        write_json(store.folder(cell.id) / "spec.json", cell.record_form())
        write_json(store.stopped_path(cell.id), note.content())
    store.forget_failure(cell.id)


def read_pruned(store: Store, cell: str) -> PruneNote | None:
    """The note on a pruned cell; None when there is none, ``CorruptFile`` when it is corrupt."""
    path = store.stopped_path(cell)
    return read_document(path, PruneNote) if path.is_file() else None


def known_curve(store: Store, cell: str) -> Curve:
    """The validation curve of a cell as its files of the current NUMERICS hold it; empty when there are none.

    Raises:
        CorruptFile: A file is corrupt, or a finished cell has no history.
    """
    if store.is_current(cell):
        history = store.history(cell)
        if not history:
            raise corrupt(store.folder(cell), "its history is missing")
        return curve_of({"val/top1": float(value)} for value in history.get("val/top1", ()))
    note = read_pruned(store, cell)
    return note.curve if note is not None and note.numerics == NUMERICS else ()


def known_pruned(store: Store, cell: Cell, limits: Thresholds) -> PrunedTrial | None:
    """The pruned trial of a cell under these thresholds; None when no file says so, or when the trial goes on.

    A cell that another sweep trained to the end counts as pruned if it was below a threshold: the outcome of a search
    does not depend on other files of the folder.
    """
    if not limits:
        return None
    curve = known_curve(store, cell.id)
    epoch = pruned_after(curve, limits)
    return None if epoch is None else PrunedTrial(cell.task, curve[:epoch])
