"""Contrasts: the difference of two entries, per task and pooled, and the evidence that is missing from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from carft.config.registry import hyperparameter_words
from carft.protocol.seeds import first_search_seed
from carft.store.study_file import StudyFile
from reports.analysis.pairing import Mismatch, difference, paired, reasons_without_interval
from reports.evidence.evidence import CAR_FT, FT, VALIDATION, Entry, Evidence
from reports.evidence.results import finished_trials
from reports.evidence.views import differences
from reports.stats.intervals import Estimate, across, pooled, two_way

NAMED = 3  # missing tasks that a sentence names
ASSUMED = 0.02  # distance from the margin for the power of an effect that no source reports
#: metric -> what a name adds
METRIC_WORDS = {"top1": "", "mean_per_class": ", mean per class", "context": ", contexts"}
Sets = Callable[[Evidence, str], Sequence[str]]
#: for a contrast in the metric that each task's card names as usual
OF_CARD = "card"


@dataclass(frozen=True)
class Part:
    """One contrast with its estimate."""

    name: str
    estimate: Estimate
    cells: tuple[str, ...]
    tasks: tuple[str, ...]
    flaws: tuple[str, ...] = ()
    """Evidence that is missing; with a flaw nothing is decided."""
    unequal: tuple[str, ...] = ()
    """Reasons why the two sides cannot be compared: other searches, other images."""
    deciding: bool = True
    """Whether the part decides its claim; otherwise it is a supporting part."""
    margin: float = 0.0
    """A share of 1."""
    side: Literal["above", "below", "around"] = "above"
    """The claim requires the whole interval above the margin, or below it, or the margin inside the interval."""
    selected_on: str = VALIDATION
    reported: float | None = None
    """The effect that other sources report for this scope, a share of 1; None without one."""
    metric: str = "top1"
    """``top1``, ``mean_per_class`` or ``context``; several are joined by a comma, in the order of the tasks."""
    by_task: tuple[tuple[str, Estimate], ...] = ()
    """What people are shown of each task, and its own estimate."""
    unshared: str = ""
    """Which searches of one side have no counterpart on the other and are left out, in a sentence."""

    @property
    def assumed(self) -> float:
        """The distance of the true effect from the margin that the computation of power assumes.

        It is the distance of the reported effect, or ``ASSUMED`` without one. It is negative on the other side of the
        margin, and NaN for ``around``, where a wide interval makes the claim easy.
        """
        if self.side == "around":
            return math.nan
        if self.reported is None:
            return ASSUMED
        return self.reported - self.margin if self.side == "above" else self.margin - self.reported

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

    def plain(self) -> Part:
        """The same part under the plain rule of intervals."""
        return replace(self, estimate=self.estimate.plain())

    def with_independent_searches(self) -> Part:
        """The same part with the searches of different tasks as independent."""
        return replace(self, estimate=self.estimate.with_independent_searches())

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
    flaws: tuple[str, ...] = ()
    """Evidence that is missing."""
    unequal: tuple[str, ...] = ()
    """Reasons why the two sides cannot be compared."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Task -> the metric of its estimate."""
    unshared: str = ""
    """Which searches of one side are left out, in a sentence."""

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell for _, used in self.estimates.values() for cell in used))

    def pooled(self) -> Estimate:
        """The unweighted mean over tasks; without numbers where there is no task."""
        estimates = [estimate for estimate, _ in self.estimates.values()]
        return pooled(estimates) if estimates else Estimate(math.nan, (), 0, 0)

    def part(self, name: str, estimate: Estimate, **settings: Any) -> Part:
        """A part of what was found."""
        metric = ", ".join(dict.fromkeys(self.metrics.values())) or "top1"
        by_task = tuple((task, of_task) for task, (of_task, _) in self.estimates.items())
        facts = {"metric": metric, "by_task": by_task, "unshared": self.unshared, **settings}
        return Part(name, estimate, self.cells, tuple(self.estimates), self.flaws, self.unequal, **facts)


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
        searched = [_searched(entry) for entry in self._trained_sides(evidence)]
        evidence, unshared = evidence.with_shared_searches(searched)
        estimates, mismatches, without_interval = {}, [], {}
        asked = [t for t in evidence.wanted_tasks if self.sets(evidence, t)]
        asked = [t for t in asked if set(self.sets(evidence, t)) <= set(evidence.set_names(t))]
        for task in (t for t in asked if t in evidence.tasks):
            sets, metric = self.sets(evidence, task), self.metric(evidence, task)
            try:
                pair = paired(evidence, task, self.first, self.second, sets, metric)
            except Mismatch as mismatch:
                mismatches.append(mismatch.message.removesuffix("."))
                continue
            if pair is not None:
                estimates[task] = (two_way(pair[0]), pair[1])
                without_interval[task] = reasons_without_interval(pair[0], sets, evidence.card(task).group)
        metrics = {task: self.metric(evidence, task) for task in estimates}
        flaws = tuple(dict.fromkeys(self._flaws(evidence, asked, without_interval)))
        return ContrastResult(estimates, flaws, (*self._unequal(evidence, estimates), *mismatches), metrics, unshared)

    def metric(self, evidence: Evidence, task: str) -> str:
        """The metric of a task."""
        return evidence.card(task).metric if self.what == OF_CARD else self.what

    def _flaws(self, evidence: Evidence, asked: Sequence[str], reasons: Mapping[str, str]) -> Iterator[str]:
        """Tasks without an estimate or interval, with seeds of one side alone, with lost cells; other protocols.

        reasons: task with an estimate -> why it has no interval; empty where it has one.
        """
        if absent := [task for task in asked if task not in reasons]:
            are = "is" if len(absent) == 1 else "are"
            yield f"{len(absent)} of {len(asked)} tasks {are} missing ({_named(absent)})"
        sides = self._trained_sides(evidence)
        for task, reason in reasons.items():
            if reason:
                yield f"{task} has no interval: it has {reason}"
            seeds = {frozenset(evidence.seed(cell) for cell in evidence.cells(task, entry)) for entry in sides}
            if len(seeds) > 1 and self.first.greedy is None:
                yield f"{task} has seeds that only one side was run with"
            for entry in sides:
                yield from _lost(evidence, task, entry)
        for method in dict.fromkeys(map(_searched, sides)):
            if absent := sorted(f"{plan.task}{_search_words(plan.search)}" for plan in evidence.absent(method)):
                yield f"{len(absent)} planned searches of {method} are missing ({_named(absent)})"
            yield from departures(evidence, list(reasons), method)
            for what, of in SAME_ON_ALL_TASKS.items():
                values: dict[str, list[str]] = {}
                for task in reasons:
                    values.setdefault(of(evidence.searches(task, method)), []).append(task)
                if len(values) > 1:
                    words = ", ".join(f"{value} on {_named(values[value])}" for value in sorted(values))
                    yield f"the tasks have different {what} of {method}: {words}"

    def _unequal(self, evidence: Evidence, tasks: Iterable[str]) -> list[str]:
        """What the two sides differ in besides the method, each with its tasks."""
        differing: dict[str, list[str]] = {}
        for task in tasks:
            for what in dict.fromkeys(self._differences(evidence, task)):
                differing.setdefault(what, []).append(task)
        return [f"{what} on {_named(of)}" for what, of in differing.items()]

    def _differences(self, evidence: Evidence, task: str) -> Iterator[str]:
        """What the two sides differ in on a task besides the method: trials, how they were run, code, precision."""
        methods = [_searched(entry) for entry in self._trained_sides(evidence)]
        if len(methods) == 2:
            ours, theirs = (evidence.ended_by_search(task, method) for method in methods)
            counts = [_sum([len(trials) for trials in side]) for side in (ours, theirs)]
            if counts[0] != counts[1]:
                yield f"the searches ({counts[0]} against {counts[1]} finished trials)"
            elif ours != theirs:
                yield f"the searches (trials {_numbers(ours)} against {_numbers(theirs)} ended)"
            pairs = product(*(evidence.searches(task, method) for method in methods))
            for pair in [(a, b) for a, b in pairs if a.search == b.search]:
                yield from differences(*pair, evidence.methods)
                trials = ([trial.cell for trial in study.trials] for study in pair)
                for of_sides in (trials, (study.confirm for study in pair)):
                    code = evidence.archive.protocol.code
                    first, second = ({version for cell in of for version in code.get(cell, ())} for of in of_sides)
                    if first and second and not first & second:
                        yield self._apart("code", first, second)
        precisions = [
            {str(evidence.records[cell].cell.precision) for cell in evidence.cells(task, entry)}
            for entry in (self.first, self.second)
        ]
        if precisions[0] != precisions[1]:
            yield self._apart("precision", *precisions)

    def _apart(self, what: str, first: Iterable[str], second: Iterable[str]) -> str:
        """What only one side has, and what only the other."""
        ours, theirs = (", ".join(sorted(values)) for values in (first, second))
        return f"the {what} ({self.first.label} {ours} against {self.second.label} {theirs})"

    def _trained_sides(self, evidence: Evidence) -> list[Entry]:
        return [entry for entry in (self.first, self.second) if evidence.methods[_searched(entry)].kind == "trained"]


def _searched(entry: Entry) -> str:
    """The method whose searches gave an entry."""
    return entry.parent or entry.method


def _lost(evidence: Evidence, task: str, entry: Entry) -> Iterator[str]:
    """That no trial is left of an entry, and which of its confirm cells, interpolations or soups are missing."""
    studies, cells = evidence.searches(task, _searched(entry)), evidence.cells(task, entry)
    if not any(evidence.ended_by_search(task, _searched(entry))):
        yield f"{task}: no trial of {_searched(entry)} is left"
    lost = ""
    if entry.greedy is None:
        there = {evidence.records[cell].cell.parents[0] for cell in cells} if entry.parent else set(cells)
        absent = {cell for study in studies for cell in study.confirm} - there
        lost = f"{'cell' if len(absent) == 1 else 'cells'} {', '.join(sorted(absent))}" if absent else ""
    elif len(cells) < len(studies):
        lost = f"the soups of {len(studies) - len(cells)} searches"
    if lost:
        yield f"{task}: {lost} of {entry.label} not finished or not readable"


def _ranges(studies: Sequence[StudyFile]) -> str:
    """The search ranges of a task's studies, each once."""
    ranges = [
        " and ".join(
            f"{hyperparameter_words(name)} {low:g} to {high:g}" for name, (low, high, _) in sorted(s.space.items())
        )
        for s in studies
    ]
    return " or ".join(dict.fromkeys(ranges)) or "none"


#: what the studies of one method must have alike on all tasks of a pooled number -> it, in words
SAME_ON_ALL_TASKS: Mapping[str, Callable[[Sequence[StudyFile]], str]] = {
    "numbers of confirm seeds": lambda studies: _sum([len(study.confirm) for study in studies]),
    "search ranges": _ranges,
    "search seeds": lambda studies: " or ".join(
        dict.fromkeys(str(first_search_seed(study.search_seed, study.search)) for study in studies)
    ),
    "versions": lambda studies: " or ".join(dict.fromkeys(study.plugin for study in studies)),
}


def departures(evidence: Evidence, tasks: Sequence[str], method: str) -> list[str]:
    """Where the studies of a method left the protocol, by task; what belongs to no study stands alone."""
    elsewhere = [finding.words for finding in evidence.archive.protocol.departures.get("", ())]
    own = [(task, words) for task in tasks for words in evidence.departures(task, method)]
    return [*(f"{task}, {method}: {words}" for task, words in own), *elsewhere]


def _search_words(search: int) -> str:
    """Which search it is, where it is not the first."""
    return "" if search == 1 else f", search {search}"


def _numbers(searches: Sequence[Sequence[int]]) -> str:
    """Numbers of trials for every search: ``0, 1, 3``, or ``0, 1 + 0, 2``."""
    return " + ".join(", ".join(map(str, trials)) for trials in searches)


def _sum(counts: Sequence[int]) -> str:
    """A count for every search: ``6``, or ``6 + 6``."""
    return " + ".join(map(str, counts)) or "0"


def _named(tasks: Sequence[str]) -> str:
    """The first few tasks by name."""
    return ", ".join(tasks[:NAMED]) + (", ..." if len(tasks) > NAMED else "")


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


def pool(evidence: Evidence, contrast: Contrast, name: str, **settings: Any) -> Part | None:
    """The part that pools a contrast over tasks; None when no task has it.

    It has no numbers where the only reason for their absence is that the two sides cannot be compared.
    """
    result = contrast.estimate(evidence)
    return result.part(name, result.pooled(), **settings) if result.estimates or result.unequal else None


def sampled(evidence: Evidence, contrast: Contrast, name: str, **settings: Any) -> list[Part]:
    """Supporting parts: the mean with tasks as a random sample, whose interval covers the variation of searches; and,
    with several searches, the mean with the searches of different tasks as independent."""
    result = contrast.estimate(evidence)
    if len(result.estimates) < 2:
        return []
    of_tasks = across([estimate for estimate, _ in result.estimates.values()])
    parts = [result.part(f"{name}, tasks as a sample", of_tasks, deciding=False, **settings)]
    mean = result.pooled()
    if mean.independent:
        apart = mean.with_independent_searches()
        parts.append(result.part(f"{name}, searches as independent", apart, deciding=False, **settings))
    return parts


def parts_of_tasks(result: ContrastResult, name: str) -> list[Part]:
    """One part for each task. name: of the contrast; a metric other than top-1 stands in the part's name."""
    parts = []
    for task, found in result.estimates.items():
        alone = replace(result, estimates={task: found}, metrics={task: result.metrics[task]})
        parts.append(alone.part(f"{name}{task}{METRIC_WORDS[result.metrics[task]]}", found[0]))
    return parts


def oracle(
    evidence: Evidence, sets: Sets = id_test, select_by: Sets | None = None, what: str = "top1"
) -> ContrastResult | None:
    """CAR-FT minus FT of the search cells that are best on test; None unless all finished search cells are unsealed.

    Search cells have one seed, so there is no seed term and the intervals are too short.

    sets: where the sides are compared. select_by: where the cells are selected by top-1, by default the same sets.
    what: the metric of the comparison, as of :class:`Contrast`.
    """
    estimates = {}
    for task in evidence.tasks:
        names, by = sets(evidence, task), (select_by or sets)(evidence, task)
        ours, theirs = (
            [best_on_test(evidence, study, by) for study in evidence.searches(task, entry.method)]
            for entry in (CAR_FT, FT)
        )
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a is not None and b is not None]
        if not names or not pairs or not len(pairs) == len(ours) == len(theirs):
            return None
        counted = difference(evidence, pairs, names, Contrast(CAR_FT, FT, what).metric(evidence, task))
        if counted is None:
            return None
        estimates[task] = two_way(counted[0], seeds_vary=False), tuple(cell for pair in pairs for cell in pair)
    return ContrastResult(estimates) if estimates else None


def best_on_test(evidence: Evidence, study: StudyFile, names: Sequence[str]) -> str | None:
    """The search cell with the highest mean top-1 on these sealed sets; None unless all finished ones were unsealed."""
    trials = [t.cell for t in finished_trials(study, evidence.records)]
    open_ones = [cell for cell in trials if evidence.archive.is_open(cell, study.task, names)]
    if not trials or len(open_ones) < len(trials):
        return None
    scores = [np.mean([evidence.metrics(cell)[f"{name}/top1"] for name in names]) for cell in trials]
    return trials[int(np.argmax(scores))]
