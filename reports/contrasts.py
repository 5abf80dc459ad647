"""Contrasts: a difference of two entries, per task and pooled, with what is missing from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from carft.methods import METHODS
from reports.evidence import Entry, Evidence, paired
from reports.statistics import Estimate, across, pooled, two_way

Sets = Callable[[Evidence, str], Sequence[str]]


@dataclass(frozen=True)
class Part:
    """One contrast with its estimate. ``deciding`` parts decide the claim, the others stand beside it.

    The claim wants the whole interval above the margin (or below it, with side ``below``).
    """

    name: str
    estimate: Estimate
    cells: tuple[str, ...]
    tasks: tuple[str, ...]
    flaws: tuple[str, ...] = ()  # what is missing: nothing is decided on part of the evidence
    unequal: tuple[str, ...] = ()  # where the two sides had unequal search budgets
    deciding: bool = True
    margin: float = 0.0
    side: Literal["above", "below"] = "above"

    @property
    def low(self) -> float:
        return self.estimate.interval()[0]

    @property
    def high(self) -> float:
        return self.estimate.interval()[1]

    @property
    def slack(self) -> float:
        """How far the nearer bound lies on the wanted side of the margin; negative when it does not."""
        return self.low - self.margin if self.side == "above" else self.margin - self.high

    @property
    def is_beyond(self) -> bool:
        """Whether the whole interval lies on the other side of the margin."""
        return self.high < self.margin if self.side == "above" else self.low > self.margin

    @property
    def p_against(self) -> float:
        """One-sided p value for the opposite of what the claim wants."""
        estimate = self.estimate
        return estimate.p_below(self.margin) if self.side == "above" else estimate.p_above(self.margin)


@dataclass(frozen=True)
class Contrast:
    """A difference of two entries in a metric over sets, per task."""

    first: Entry
    second: Entry
    what: str = "top1"
    sets: Sets = lambda evidence, task: ["test"]

    def per_task(self, evidence: Evidence) -> dict[str, tuple[Estimate, tuple[str, ...]]]:
        """task -> (estimate, cells) for the tasks that have the sets and where both entries were run."""
        found = {}
        for task in self._asked(evidence):
            pair = paired(evidence, task, self.first, self.second, self.sets(evidence, task), self.what)
            if pair is not None:
                found[task] = (two_way(pair[0]), pair[1])
        return found

    def _asked(self, evidence: Evidence) -> list[str]:
        asked = {task: set(self.sets(evidence, task)) for task in evidence.tasks}
        return [task for task, sets in asked.items() if sets and sets <= set(evidence.set_names(task))]

    def flaws(self, evidence: Evidence, found: Mapping[str, tuple[Estimate, tuple[str, ...]]]) -> tuple[str, ...]:
        """Tasks without an estimate, without an interval, or with seeds that only one side has."""
        flaws = [f"{task} is missing" for task in self._asked(evidence) if task not in found]
        for task, (estimate, _) in found.items():
            if math.isnan(estimate.se):
                flaws.append(f"{task} has no interval: it has one seed or one {evidence.card(task).group}")
            seeds = [{evidence.seed(c) for c in evidence.cells(task, e)} for e in self._trained_sides()]
            if len(seeds) == 2 and seeds[0] != seeds[1]:
                flaws.append(f"{task} has seeds that only one side was run with")
        return tuple(flaws)

    def unequal(self, evidence: Evidence) -> tuple[str, ...]:
        """Tasks on which the two sides' searches ended with different numbers of trials."""
        uneven = []
        for task in self._asked(evidence):
            counts = [evidence.finished_trials(task, e.parent or e.method) for e in self._trained_sides()]
            if len(counts) == 2 and counts[0] != counts[1]:
                uneven.append(f"{task} ({counts[0]} against {counts[1]} finished trials)")
        return tuple(uneven)

    def _trained_sides(self) -> list[Entry]:
        return [e for e in (self.first, self.second) if METHODS[e.parent or e.method].kind == "trained"]


def id_test(evidence: Evidence, task: str) -> Sequence[str]:
    """The ID test set alone."""
    return ["test"]


def every_set(evidence: Evidence, task: str) -> Sequence[str]:
    """The ID test set, if there is one, and all suites."""
    return evidence.set_names(task)


def every_suite(evidence: Evidence, task: str) -> Sequence[str]:
    """All suites."""
    return [name for name in evidence.set_names(task) if name != "test"]


def suite_set(name: str) -> Sets:
    """One suite."""
    return lambda evidence, task: [f"ood/{name}"]


def pool(evidence: Evidence, contrast: Contrast, name: str, **settings: Any) -> Part | None:
    """The part that pools a contrast over tasks; None when no task has it."""
    found = contrast.per_task(evidence)
    if not found:
        return None
    return _part(evidence, contrast, name, found, pooled([estimate for estimate, _ in found.values()]), **settings)


def sampled(evidence: Evidence, contrast: Contrast, name: str, **settings: Any) -> Part | None:
    """Beside a pooled part: the same mean with tasks as a sample, the luck of each search in the interval."""
    found = contrast.per_task(evidence)
    if len(found) < 2:
        return None
    estimate = across([estimate for estimate, _ in found.values()])
    return _part(evidence, contrast, f"{name}, tasks as a sample", found, estimate, deciding=False, **settings)


def _part(
    evidence: Evidence,
    contrast: Contrast,
    name: str,
    found: Mapping[str, tuple[Estimate, tuple[str, ...]]],
    estimate: Estimate,
    **settings: Any,
) -> Part:
    cells = tuple(dict.fromkeys(cell for _, used in found.values() for cell in used))
    flaws, unequal = contrast.flaws(evidence, found), contrast.unequal(evidence)
    return Part(name, estimate, cells, tuple(found), flaws, unequal, **settings)
