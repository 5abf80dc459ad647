"""Early stopping of search trials: what a trial must reach at which epoch, whether it did, and a record of the end.

    cells/<id>/stopped.json     the validation curve of a cell whose training was given up; a full record replaces it

A median rule over the trials of *earlier rounds* of the same study that reached the rung: what is stopped is a
function of records, not of which trial happens to run beside it. Vizier's rule (Golovin et al., KDD 2017) compares a
trial's best value so far with running averages of completed trials; here the value at the rung is compared with the
values there, and trials that were stopped count too: a median of survivors alone would rise from round to round. No
torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any

from carft import NUMERICS
from carft.core.errors import corrupt
from carft.spec.cell import Cell
from carft.store.records import Store

#: val/top1 after epoch 1, 2, ...
Curve = tuple[float, ...]
#: epoch -> the val/top1 that a trial must reach there
Thresholds = Mapping[int, float]
NO_THRESHOLDS: Thresholds = MappingProxyType({})
#: a median of fewer says nothing
FEWEST = 2


def thresholds_of(rungs: Sequence[int], earlier: Sequence[Curve]) -> dict[int, float]:
    """At each rung the median of the trials that reached it; no limit where those are too few.

    earlier: curves of trials of earlier rounds, those that were stopped up to where they were.
    """
    reached = {epoch: [curve[epoch - 1] for curve in earlier if len(curve) >= epoch] for epoch in rungs}
    return {epoch: median(values) for epoch, values in reached.items() if len(values) >= FEWEST}


def rungs_of(curves: Sequence[Curve | None], rungs: Sequence[int], round_size: int, epochs: int) -> list[int | None]:
    """The epoch after which each trial of a study is stopped, by trial number: the whole rule, for whoever checks it.

    curves: of every trial as far as it is known, None for one that failed. epochs: of a trial that is not stopped.
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
    """The first epoch at which a trial is below its limit; None for one that may go on."""
    behind = (epoch for epoch in sorted(limits) if epoch <= len(curve) and curve[epoch - 1] < limits[epoch])
    return next(behind, None)


def curve_of(history: Iterable[Mapping[str, float]]) -> Curve:
    """The validation curve of a history: one value an epoch; empty for a method without epochs."""
    values = (row.get("val/top1", math.nan) for row in history)
    return tuple(value for value in values if not math.isnan(value))


@dataclass(frozen=True)
class PrunedTrial:
    """A trial that was given up. curve: up to the rung at which it was behind."""

    task: str
    curve: Curve

    @property
    def epochs(self) -> int:
        """Epochs that it was trained for."""
        return len(self.curve)

    @property
    def value(self) -> float:
        """Its val/top1 when it was stopped."""
        return self.curve[-1]


def write_pruned(store: Store, cell: Cell, curve: Curve, provenance: Mapping[str, Any]) -> None:
    """Write down that a cell's training was given up; its folder holds no record."""
    store.write_stopped(cell, {"curve": list(curve), "numerics": NUMERICS, "provenance": dict(provenance)})


def known_curve(store: Store, cell: str) -> Curve:
    """A cell's validation curve, as far as records under the current NUMERICS tell it; empty when they do not."""
    if store.is_current(cell):
        history = store.history(cell)
        if not history:
            raise corrupt(store.folder(cell), "its history is missing")
        return curve_of({"val/top1": float(value)} for value in history.get("val/top1", ()))
    content = store.stopped(cell)
    return tuple(content["curve"]) if content is not None and content["numerics"] == NUMERICS else ()


def known_pruned(store: Store, cell: Cell, limits: Thresholds) -> PrunedTrial | None:
    """The end of a trial under these limits, as its records tell it; None when they do not, or when it went on.

    A cell that another sweep trained to the end is stopped here all the same if it was behind at a rung: the outcome of
    a search must not depend on what else is in the folder.
    """
    if not limits:
        return None
    curve = known_curve(store, cell.id)
    epoch = pruned_after(curve, limits)
    return None if epoch is None else PrunedTrial(cell.task, curve[:epoch])
