"""Paired differences: task by task, and of every method against plain fine-tuning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from reports.judge.contrasts.contrast import OF_CARD, PLACES, Contrast, pool
from reports.judge.entry import CAR_FT, FT, WISE, WISE_CAR, ZERO_SHOT, Entry
from reports.judge.estimate import Estimate
from reports.judge.evidence import Evidence
from reports.judge.levels import LEVELS
from reports.judge.part import METRIC_WORDS, Part

DIFFERENCES = (
    ("CAR-FT - FT", CAR_FT, FT),
    ("FT - zero-shot", FT, ZERO_SHOT),
    ("CAR-FT - zero-shot", CAR_FT, ZERO_SHOT),
    ("WiSE(CAR-FT) - WiSE(FT)", WISE_CAR, WISE),
)


@dataclass(frozen=True)
class Difference:
    """The difference of two entries on a task."""

    name: str
    first: Entry
    second: Entry
    where: str
    """The sets, and the metric where it is not top-1."""
    task: str
    metric: str
    estimate: Estimate
    """Share of 1."""
    cells: Sequence[str]


def task_differences(view: Evidence) -> Iterator[Difference]:
    """Differences per task, ID and mean OOD, in top-1.

    A task whose card names another metric has one more for the ID test, in that metric.
    """
    asked = [*product(DIFFERENCES, PLACES, ["top1"]), *product(DIFFERENCES, PLACES[:1], [OF_CARD])]
    for (name, first, second), (place, sets), what in asked:
        result = Contrast(first, second, what, sets).estimate(view)
        for task, (estimate, cells) in result.estimates.items():
            metric = result.metrics[task]
            if (what, metric) != (OF_CARD, "top1"):
                yield Difference(name, first, second, f"{place}{METRIC_WORDS[metric]}", task, metric, estimate, cells)


@dataclass(frozen=True)
class Comparison:
    """The difference between two methods, averaged over tasks."""

    where: str
    """In what they differ: a key of :data:`reports.judge.levels.LEVELS`."""
    part: Part


def comparisons(scope: Evidence) -> Iterator[Comparison]:
    """Each trained method minus FT, and CAR-FT minus each other method.

    With interpolations, WiSE-FT of FT, alpha chosen on validation, is compared with FT and with CAR-FT. Where other
    methods were searched less often, CAR-FT is compared with FT in as many first searches too.
    """
    for (name, view, first, second), (where, (metric, sets)) in product(_compared(scope), LEVELS.items()):
        part = pool(view, Contrast(first, second, metric, sets), name)
        if part is not None and part.tasks:
            yield Comparison(where, part)


def _compared(view: Evidence) -> Iterator[tuple[str, Evidence, Entry, Entry]]:
    """Every comparison in a scope: name, the scope or fewer searches of it, first and second entry."""
    labels = {Entry(name): view.methods[name].label for name in view.trained_methods}
    others = [entry for entry in labels if entry != FT and view.has(entry)]
    for entry in others:
        yield f"{labels[entry]} - {labels[FT]}", view, entry, FT
    for entry in others:
        if entry != CAR_FT:
            yield f"{labels[CAR_FT]} - {labels[entry]}", view, CAR_FT, entry
    if view.has(WISE):
        for entry in (FT, CAR_FT):
            yield f"WiSE(FT) - {labels[entry]}", view, WISE, entry
    counts = view.searches_of(view.trained_methods)
    both = min(counts.get(CAR_FT.method, 0), counts.get(FT.method, 0))
    for count in sorted(set(counts.values())):
        if count < both:
            fewer = view.with_searches(range(1, count + 1), (CAR_FT.method, FT.method))
            first = "first search" if count == 1 else f"first {count} searches"
            yield f"{labels[CAR_FT]} - {labels[FT]}, {first}", fewer, CAR_FT, FT
