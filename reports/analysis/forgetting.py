"""What plain fine-tuning forgets out of distribution, whether a contrast could show it, and what remedies give back.

An experiment in which nothing is forgotten says nothing of a remedy. Clinical trials call what it lacks assay
sensitivity (ICH E10, section 1.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from reports.analysis.contrasts import Contrast, Part, every_suite, pool
from reports.evidence.evidence import FT, WISE, ZERO_SHOT, Entry, Evidence
from reports.stats.intervals import Ratio, fieller

#: interpolation weight of the positive control
CONTROL_ALPHA = 0.5
#: the positive control, named in advance: it must gain over FT out of distribution
POSITIVE = replace(WISE, alpha=CONTROL_ALPHA)
#: margin of equivalence in distribution, a share of 1
ID_EQUIVALENCE = 0.005
#: the largest margin of equivalence out of distribution, a share of 1
LARGEST_EQUIVALENCE = 0.01


#: zero-shot minus FT out of distribution: what FT loses
FORGOTTEN = Contrast(ZERO_SHOT, FT, "top1", every_suite)
FORGOTTEN_SIDES = "zero-shot - FT, mean of suites"


def forgotten(evidence: Evidence) -> Part | None:
    """Zero-shot minus FT out of distribution, mean over suites and tasks; None where a side was not evaluated."""
    return pool(evidence, FORGOTTEN, FORGOTTEN_SIDES)


class TakenFrom(Enum):
    """Which searches of FT what was forgotten is taken from."""

    OTHER_SEARCHES = auto()
    """Those that the contrast does not use."""
    ALL_SEARCHES = auto()
    """All: the contrast uses no run of FT."""
    EACH_LEFT_OUT = auto()
    """All that the contrast uses; each was left out in turn."""
    THE_SAME_RUNS = auto()
    """The one search of FT, which the contrast uses."""


@dataclass(frozen=True)
class Gate:
    """Whether so much was forgotten as a contrast can show: only then may a remedy be asked what it gives back."""

    visible: float
    """The smallest visible difference of the contrast, a share of 1; NaN without an interval."""
    forgotten: tuple[Part, ...]
    """Zero-shot minus FT out of distribution, once for each set of searches that it is taken from."""
    taken_from: TakenFrom

    @staticmethod
    def of(evidence: Evidence, cells: Iterable[str], visible: float) -> Gate | None:
        """That of a contrast in one scope; None where the forgetting was not measured.

        cells: those that the contrast rests on. The forgetting is cross-fitted: it is taken from searches of FT that
        the contrast does not use. Where the contrast uses all of them, each is left out in turn. With one search it is
        that of the contrast's own runs: then the same noise of FT can open the gate and raise the gain.
        """
        searches = set()
        for study in evidence.studies:
            if study.method == FT.method:
                searches.add(study.search)
        used = set()
        for cell in cells:
            if _origin(evidence, cell) == FT.method:
                used.add(evidence.search(cell))
        folds, taken_from = _folds(searches, searches & used)
        measured = []
        for fold in folds:
            part = forgotten(evidence.with_searches(fold, [FT.method]))
            if part is None or not part.tasks:
                return None
            measured.append(part)
        if not measured:
            return None
        return Gate(visible, tuple(measured), taken_from)

    @property
    def effect(self) -> float:
        """What was forgotten, a share of 1: the mean over the sets of searches."""
        effects = [part.estimate.effect for part in self.forgotten]
        return sum(effects) / len(effects)

    @property
    def low(self) -> float:
        """The least lower bound of what was forgotten; NaN where a set of searches gives no interval."""
        return float(np.min([part.low for part in self.forgotten]))

    @property
    def is_closed(self) -> bool:
        """Whether less is surely forgotten than the contrast can show; False where one of them has no interval."""
        return self.low < self.visible


def _folds(searches: Set[int], used: Set[int]) -> tuple[list[Set[int]], TakenFrom]:
    """The sets of searches of FT that the forgetting is taken from in turn. used: those that the contrast uses."""
    if not used:
        return [searches], TakenFrom.ALL_SEARCHES
    if searches != used:
        return [searches - used], TakenFrom.OTHER_SEARCHES
    if len(used) == 1:
        return [used], TakenFrom.THE_SAME_RUNS
    return [used - {search} for search in sorted(used)], TakenFrom.EACH_LEFT_OUT


def _origin(evidence: Evidence, cell: str) -> str:
    """The method of a cell, or of the cells that it was made of."""
    spec = evidence.records[cell].cell
    if spec.parents:
        return evidence.records[spec.parents[0]].cell.method
    return spec.method


@dataclass(frozen=True)
class GivenBack:
    """What a method gains over FT out of distribution, as a share of what FT lost to zero-shot."""

    gained: Part
    forgotten: Part
    share: Ratio

    @staticmethod
    def of(evidence: Evidence, entry: Entry) -> GivenBack | None:
        """That of an entry in one scope, over the searches that it shares with FT, on the tasks that both and zero-shot
        have; None without one."""
        shared = evidence.with_shared_searches([entry.parent or entry.method, FT.method])
        gain = Contrast(entry, FT, "top1", every_suite).estimate(shared)
        loss = FORGOTTEN.estimate(shared)
        apart = Contrast(entry, ZERO_SHOT, "top1", every_suite).estimate(shared)
        tasks = gain.estimates.keys() & loss.estimates.keys() & apart.estimates.keys()
        if not tasks:
            return None
        gain, loss, apart = gain.on(tasks), loss.on(tasks), apart.on(tasks)
        share = fieller(gain.pooled(), loss.pooled(), apart.pooled())
        gained = gain.part(f"{entry.label} - FT, mean of suites", gain.pooled())
        return GivenBack(gained, loss.part(FORGOTTEN_SIDES, loss.pooled()), share)

    @property
    def is_defined(self) -> bool:
        """Whether anything was forgotten of which a share could be given back."""
        return self.forgotten.estimate.effect > 0


def equivalence_of(evidence: Evidence, needs: str, parts: Sequence[Part]) -> float | None:
    """The margin, a share of 1, of equivalence that the intervals of all parts lie within; None where one does not.

    needs: ``test`` for accuracy in distribution. For ``suites`` the margin is half of what the positive control surely
    gains, at most ``LARGEST_EQUIVALENCE``, and there is none where the control does not surely gain or its evidence is
    incomplete. Context recognition has none.
    """
    for part in parts:
        if part.side == "around" or not part.is_within(LARGEST_EQUIVALENCE):
            return None
    margin = math.nan
    if needs == "test":
        margin = ID_EQUIVALENCE
    if needs == "suites":
        control = pool(evidence, Contrast(POSITIVE, FT, "top1", every_suite), "positive control")
        if control is not None and control.low > 0 and not control.flaws and not control.unequal:
            margin = min(control.low / 2, LARGEST_EQUIVALENCE)
    return margin if all(part.is_within(margin) for part in parts) else None
