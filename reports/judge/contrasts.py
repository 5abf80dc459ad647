"""Contrasts: the difference of two entries, per task and pooled, and the evidence that is missing from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product
from typing import Any, Literal

import numpy as np

from carft.store.study_file import StudyFile
from reports.judge.evidence import CAR_FT, FT, VALIDATION, Entry, Evidence, which_search
from reports.judge.intervals import Estimate, across, pooled, two_way
from reports.judge.pairing import Mismatch, difference, paired
from reports.judge.protocol import apart, unequal_runs, unequal_settings, unequal_trials
from reports.read.note import Note, few
from reports.read.results import finished_trials

#: metric -> what a name adds
METRIC_WORDS = {"top1": "", "mean_per_class": ", mean per class", "context": ", contexts"}
Sets = Callable[[Evidence, str], Sequence[str]]
#: for a contrast in the metric that each task's card names as usual
OF_CARD = "card"
#: places of means over sets or tasks
MEAN_OF_SUITES, MEAN_OF_TASKS = "mean of suites", "mean of tasks"


#: what the name of a mean says that takes tasks for a random sample
SAMPLE = "tasks as a sample"


@dataclass(frozen=True)
class Part:
    """One contrast with its estimate."""

    sides: str
    """What is compared: ``CAR-FT - FT``."""
    estimate: Estimate
    cells: tuple[str, ...]
    tasks: tuple[str, ...]
    flaws: tuple[Note, ...] = ()
    """Evidence that is missing or unsound."""
    unequal: tuple[Note, ...] = ()
    """Why the two sides cannot be compared: other searches, other images."""
    place: str = ""
    """Name of the sets, the mean or the task; empty where the sides say all."""
    pooling: str = ""
    """``SAMPLE`` of a mean that takes tasks for a random sample; else empty, and they are fixed."""
    deciding: bool = True
    """Whether the part decides its claim; otherwise it is a supporting part."""
    margin: float = 0.0
    """A share of 1."""
    side: Literal["above", "below", "around"] = "above"
    """The claim requires the whole interval above the margin, or below it, or the margin inside the interval."""
    selected_on: str = VALIDATION
    metric: str = "top1"
    """``top1``, ``mean_per_class`` or ``context``; several are joined by a comma, in the order of the tasks."""
    by_task: tuple[tuple[str, Estimate], ...] = ()
    """What people are shown of each task, and its own estimate."""

    @property
    def name(self) -> str:
        """What names it among the parts of a verdict."""
        return ", ".join(filter(None, (self.sides, self.place, self.pooling)))

    @property
    def doubts(self) -> str:
        """All that is missing of it, and what its sides differ in, as half a sentence; mostly empty."""
        return "; ".join(note.words for note in (*self.flaws, *self.unequal))

    @property
    def low(self) -> float:
        return self.estimate.interval()[0]

    @property
    def high(self) -> float:
        return self.estimate.interval()[1]

    @property
    def slack(self) -> float:
        """Distance of the nearer bound from the margin; negative on the other side."""
        above, below = self.low - self.margin, self.margin - self.high
        return {"above": above, "below": below, "around": min(-above, -below)}[self.side]

    @property
    def is_beyond(self) -> bool:
        """Whether the whole interval lies on the other side of the margin."""
        above, below = self.low > self.margin, self.high < self.margin
        return {"above": below, "below": above, "around": above or below}[self.side]

    def is_within(self, margin: float) -> bool:
        """Whether the whole interval lies nearer to 0 than the margin, a share of 1."""
        return -margin < self.low and self.high < margin

    @property
    def p_for(self) -> float:
        """One-sided p value for what the claim wants; NaN for side ``around``, where no test shows it."""
        above, below = self.estimate.p_above(self.margin), self.estimate.p_below(self.margin)
        return {"above": above, "below": below, "around": math.nan}[self.side]

    @property
    def p_against(self) -> float:
        """One-sided p value for the opposite of what the claim wants; for side ``around`` the smaller p value."""
        above, below = self.estimate.p_above(self.margin), self.estimate.p_below(self.margin)
        return {"above": below, "below": above, "around": min(above, below)}[self.side]


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
                    flaws += _lost(evidence, task, entry)
        absent = []
        for task in asked:
            if task not in estimates:
                absent.append(task)
        if absent:
            are = "is" if len(absent) == 1 else "are"
            flaws.insert(0, Note("tasks", f"{len(absent)} of {len(asked)} tasks {are} missing ({few(absent)})"))
        for method in dict.fromkeys(searched):
            flaws += _flaws_of_method(evidence, method, list(estimates))
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
            if evidence.methods[_searched(entry)].kind == "trained":
                sides.append(entry)
        return sides

    def _trained_methods(self, evidence: Evidence) -> list[str]:
        return [_searched(entry) for entry in self._trained_sides(evidence)]


def _searched(entry: Entry) -> str:
    """The method whose searches gave an entry."""
    return entry.parent or entry.method


def _precisions(evidence: Evidence, task: str, entry: Entry) -> set[str]:
    return {str(evidence.records[cell].cell.precision) for cell in evidence.cells(task, entry)}


def _lost(evidence: Evidence, task: str, entry: Entry) -> Iterator[Note]:
    """Which confirm cells, interpolations or soups of an entry are missing."""
    studies, cells = evidence.searches(task, _searched(entry)), evidence.cells(task, entry)
    gone = f"of {entry.label} not finished or not readable"
    if entry.greedy is not None:
        if len(cells) < len(studies):
            yield Note("cells", f"{task}: the soups of {len(studies) - len(cells)} searches {gone}")
        return
    absent: set[str] = set()
    for study in studies:
        absent.update(study.confirm)
    for cell in cells:
        made_of = evidence.records[cell].cell.parents if entry.parent else [cell]
        absent.difference_update(made_of)
    if absent:
        names = f"cell{'s' * (len(absent) > 1)} {', '.join(sorted(absent))}"
        yield Note("cells", f"{task}: {names} {gone}", cells=tuple(sorted(absent)))


def _flaws_of_method(evidence: Evidence, method: str, tasks: Sequence[str]) -> Iterator[Note]:
    """Planned searches without a winner, and departures from the protocol."""
    absent = sorted(f"{plan.task}{which_search(plan)}" for plan in evidence.absent(method))
    if absent:
        yield Note("searches", f"{len(absent)} planned searches of {method} are missing ({few(absent)})")
    yield from departures(evidence, tasks, method)


def departures(evidence: Evidence, tasks: Sequence[str], method: str) -> Iterator[Note]:
    """Where the studies of a method left the protocol, by task; what belongs to no study stands alone."""
    for task in tasks:
        for study, note in evidence.departures(task, method):
            yield replace(note, text=f"{task}, {method}{which_search(study)}: {note.text}")
    yield from evidence.broken.get("", ())


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


def oracle(
    evidence: Evidence, sets: Sets = id_test, select_by: Sets | None = None, what: str = "top1"
) -> ContrastResult | None:
    """CAR-FT minus FT of the search cells that are best on test; None unless all were opened, on the same images.

    Search cells have one seed, so there is no seed term and the intervals are too short.

    sets: where the sides are compared. select_by: where the cells are selected by top-1, by default the same sets.
    what: the metric of the comparison, as of :class:`Contrast`.
    """
    estimates = {}
    for task in evidence.tasks:
        names, by = sets(evidence, task), (select_by or sets)(evidence, task)
        studies, others = evidence.searches(task, CAR_FT.method), evidence.searches(task, FT.method)
        if not names or not studies or len(studies) != len(others):
            return None
        pairs = []
        for study, other in zip(studies, others, strict=True):
            ours, theirs = best_on_test(evidence, study, by), best_on_test(evidence, other, by)
            if ours is None or theirs is None:
                return None
            pairs.append((ours, theirs))
        try:
            counted = difference(evidence, pairs, names, Contrast(CAR_FT, FT, what).metric(evidence, task))
        except Mismatch:
            return None
        if counted is None:
            return None
        estimates[task] = two_way(counted[0], seeds_vary=False), tuple(chain.from_iterable(pairs))
    return ContrastResult(estimates) if estimates else None


def best_on_test(evidence: Evidence, study: StudyFile, names: Sequence[str]) -> str | None:
    """The search cell with the highest mean top-1 on these sealed sets; None unless all finished ones were unsealed."""
    scores = {}
    for trial in finished_trials(study, evidence.records):
        if not evidence.results.is_open(trial.cell, study.task, names):
            return None
        metrics = evidence.metrics(trial.cell)
        scores[trial.cell] = np.mean([metrics[f"{name}/top1"] for name in names])
    if not scores:
        return None
    return list(scores)[int(np.argmax(list(scores.values())))]
