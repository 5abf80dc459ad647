"""Contrasts: the difference of two entries in a metric over sets, per task and pooled."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from reports.judge.contrasts.missing import flaws_of_method, lost
from reports.judge.entry import Entry
from reports.judge.estimate import Estimate
from reports.judge.evidence import Evidence
from reports.judge.intervals.pooling import across, pooled
from reports.judge.intervals.two_way import two_way
from reports.judge.pairing import Mismatch, paired
from reports.judge.part import METRIC_WORDS, SAMPLE, Part
from reports.judge.protocol import apart, unequal_runs, unequal_settings, unequal_trials
from reports.note import Note, few

Sets = Callable[[Evidence, str], Sequence[str]]
#: for a contrast in the metric that each task's card names as usual
OF_CARD = "card"


@dataclass(frozen=True)
class ContrastResult:
    """The estimates of a contrast, and what prevents a decision."""

    estimates: dict[str, tuple[Estimate, tuple[str, ...]]]
    """Task -> (estimate, cells)."""
    flaws: tuple[Note, ...] = ()
    """Evidence that is missing or unsound."""
    unequal: tuple[Note, ...] = ()
    """Why the two sides cannot be compared."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Task -> the metric of its estimate."""

    @property
    def cells(self) -> tuple[str, ...]:
        cells: dict[str, None] = {}
        for _, used in self.estimates.values():
            cells |= dict.fromkeys(used)
        return tuple(cells)

    def on(self, tasks: Container[str]) -> ContrastResult:
        """The result on these tasks alone."""
        return replace(self, estimates={task: found for task, found in self.estimates.items() if task in tasks})

    @property
    def of_tasks(self) -> list[Estimate]:
        """The estimate of each task, in order."""
        return [estimate for estimate, _ in self.estimates.values()]

    def pooled(self) -> Estimate:
        """The unweighted mean over tasks; without numbers where there is no task."""
        if not self.estimates:
            return Estimate(math.nan, (), 0, 0)
        return pooled(self.of_tasks)

    def part(self, sides: str, estimate: Estimate, place: str = "", **settings: Any) -> Part:
        """A part of what was found."""
        metric = ", ".join(dict.fromkeys(self.metrics.values())) or "top1"
        by_task = tuple(zip(self.estimates, self.of_tasks, strict=True))
        facts = {"metric": metric, "by_task": by_task, **settings}
        return Part(sides, estimate, self.cells, tuple(self.estimates), self.flaws, self.unequal, place, **facts)


def id_test(evidence: Evidence, task: str) -> Sequence[str]:
    """The ID test set alone."""
    return ["test"]


@dataclass(frozen=True)
class Contrast:
    """A difference of two entries in a metric over sets, per task."""

    first: Entry
    second: Entry
    what: str = "top1"
    """``top1``, ``mean_per_class``, ``context``, or ``OF_CARD`` for the metric of each task's card."""
    sets: Sets = id_test

    def estimate(self, evidence: Evidence) -> ContrastResult:
        """Estimates of the tasks that have the sets and both entries, with flaws and unequal sides."""
        searched = self._trained_methods(evidence)
        evidence = evidence.with_shared_searches(searched)
        estimates: dict[str, tuple[Estimate, tuple[str, ...]]] = {}
        metrics: dict[str, str] = {}
        mismatches: list[Note] = []
        flaws: list[Note] = []
        asked = []
        for task in evidence.wanted_tasks:
            if not self._has_sets(evidence, task):
                continue
            asked.append(task)
            if task not in evidence.tasks:
                continue
            sets, metric = self.sets(evidence, task), self.metric(evidence, task)
            try:
                pair = paired(evidence, task, self.first, self.second, sets, metric)
            except Mismatch as mismatch:
                mismatches.append(mismatch.note)
                continue
            if pair is not None:
                made, cells = pair
                estimates[task] = (two_way(made), cells)
                if math.isnan(estimates[task][0].se):
                    flaws.append(Note("interval", f"{task} has no interval"))
                metrics[task] = metric
                for entry in self._trained_sides(evidence):
                    flaws += lost(evidence, task, entry)
        absent = []
        for task in asked:
            if task not in estimates:
                absent.append(task)
        if absent:
            are = "is" if len(absent) == 1 else "are"
            flaws.insert(0, Note("tasks", f"{len(absent)} of {len(asked)} tasks {are} missing ({few(absent)})"))
        for method in dict.fromkeys(searched):
            flaws += flaws_of_method(evidence, method, list(estimates))
        return ContrastResult(
            estimates,
            tuple(dict.fromkeys(flaws)),
            (*self._unequal(evidence, estimates), *mismatches),
            metrics,
        )

    def metric(self, evidence: Evidence, task: str) -> str:
        """The metric of a task."""
        return evidence.card(task).metric if self.what == OF_CARD else self.what

    def _has_sets(self, evidence: Evidence, task: str) -> bool:
        sets = self.sets(evidence, task)
        return bool(sets) and set(sets) <= set(evidence.set_names(task))

    def _unequal(self, evidence: Evidence, tasks: Iterable[str]) -> list[Note]:
        """What the two sides differ in besides the method, each with its tasks."""
        differing: dict[Note, list[str]] = {}
        for task in tasks:
            for note in dict.fromkeys(self._differences(evidence, task)):
                differing.setdefault(note, []).append(task)
        unequal = []
        for note, of in differing.items():
            unequal.append(replace(note, tasks=tuple(of)))
        return unequal

    def _differences(self, evidence: Evidence, task: str) -> Iterator[Note]:
        """What the two sides differ in on a task besides the method: trials, how they were run, code, precision."""
        methods = self._trained_methods(evidence)
        if len(methods) == 2:
            yield from unequal_trials(*(evidence.ended_by_search(task, method) for method in methods))
            for first, second in product(*(evidence.searches(task, method) for method in methods)):
                if first.search == second.search:
                    yield from unequal_settings(first, second, evidence.methods)
                    yield from unequal_runs(evidence.conduct, self._labels, first, second)
        ours, theirs = _precisions(evidence, task, self.first), _precisions(evidence, task, self.second)
        if ours != theirs:
            yield apart("precision", self._labels, ", ".join(sorted(ours)), ", ".join(sorted(theirs)))

    @property
    def _labels(self) -> tuple[str, str]:
        return self.first.label, self.second.label

    def _trained_sides(self, evidence: Evidence) -> list[Entry]:
        sides = []
        for entry in (self.first, self.second):
            if evidence.methods[entry.searched].kind == "trained":
                sides.append(entry)
        return sides

    def _trained_methods(self, evidence: Evidence) -> list[str]:
        return [entry.searched for entry in self._trained_sides(evidence)]


def _precisions(evidence: Evidence, task: str, entry: Entry) -> set[str]:
    return {str(evidence.records[cell].cell.precision) for cell in evidence.cells(task, entry)}


def every_set(evidence: Evidence, task: str) -> Sequence[str]:
    """The ID test set and all suites."""
    return evidence.set_names(task)


def every_suite(evidence: Evidence, task: str) -> Sequence[str]:
    """All suites."""
    return evidence.suites(task)


#: where an effect is measured: its name in a table -> the sets
PLACES: tuple[tuple[str, Sets], ...] = (("ID test", id_test), ("mean OOD", every_suite))


def suite_set(name: str) -> Sets:
    """One suite."""
    return lambda evidence, task: [f"ood/{name}"]


def pool(evidence: Evidence, contrast: Contrast, sides: str, place: str = "", **settings: Any) -> Part | None:
    """The part that pools a contrast over tasks; None when no task has it.

    It has no numbers where the only reason for their absence is that the two sides cannot be compared.
    """
    result = contrast.estimate(evidence)
    return result.part(sides, result.pooled(), place, **settings) if result.estimates or result.unequal else None


def sampled(evidence: Evidence, contrast: Contrast, sides: str, place: str = "", **settings: Any) -> list[Part]:
    """The supporting part of the mean with tasks as a random sample, whose interval covers the variation of searches;
    none for a single task."""
    result = contrast.estimate(evidence)
    if len(result.estimates) < 2:
        return []
    settings = {"deciding": False, **settings}
    return [result.part(sides, across(result.of_tasks), place, pooling=SAMPLE, **settings)]


def parts_of_tasks(result: ContrastResult, sides: str) -> list[Part]:
    """One part for each task; a metric other than top-1 stands in the part's place."""
    parts = []
    for task, found in result.estimates.items():
        alone = replace(result, estimates={task: found}, metrics={task: result.metrics[task]})
        parts.append(alone.part(sides, found[0], f"{task}{METRIC_WORDS[result.metrics[task]]}"))
    return parts
