"""Accuracies and context recognition of entries: means over tasks, and task by task."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from reports.judge.entry import COMPARED, RANDOM, Entry
from reports.judge.estimate import Estimate
from reports.judge.evidence import Evidence
from reports.judge.forgetting import POSITIVE
from reports.judge.intervals.pooling import pooled
from reports.judge.levels import LEVELS, chance_of_contexts, level_of, levels_by_task

#: what stands beside zero-shot, FT and CAR-FT where all their tasks have it: CAR-FT's first control, and a remedy
BESIDE = (RANDOM, POSITIVE)


@dataclass(frozen=True)
class MeanLevel:
    """Accuracy or context recognition of an entry, averaged over tasks."""

    place: str
    """What is averaged: a key of :data:`reports.judge.levels.LEVELS`."""
    entry: Entry
    mean: Estimate
    """Share of 1."""
    tasks: Sequence[str]
    cells: Sequence[str]
    chance: float
    """What guessing would reach of contexts, a share of 1; NaN for accuracies."""


def mean_levels(view: Evidence) -> Iterator[MeanLevel]:
    """Levels of the compared methods, over the tasks that all of those with a level have.

    A method that stands beside them has a level only where it has all of these tasks.
    """
    for place, (metric, sets) in LEVELS.items():
        by_entry = {entry: levels_by_task(view, entry, metric, sets) for entry in (*COMPARED, *BESIDE)}
        shared = set(view.tasks)
        for entry in COMPARED:
            if by_entry[entry]:
                shared &= set(by_entry[entry])
        tasks = [task for task in view.tasks if task in shared]
        for entry, by_task in by_entry.items():
            if not tasks or not shared <= set(by_task):
                continue
            of_tasks, cells = [], list[str]()
            for task in tasks:
                of_tasks.append(by_task[task][0])
                cells += by_task[task][1]
            chance = chance_of_contexts(view, tasks) if metric == "context" else math.nan
            yield MeanLevel(place, entry, pooled(of_tasks), tasks, cells, chance)


def measured(view: Evidence) -> Iterator[tuple[str, Entry, Sequence[str]]]:
    """(task, entry, its cells) of everything that was evaluated in a scope."""
    for task, entry in product(view.tasks, view.entries()):
        cells = view.cells(task, entry)
        if cells:
            yield task, entry, cells


@dataclass(frozen=True)
class TaskAccuracy:
    """Accuracy of an entry on the ID test set of a task."""

    task: str
    entry: Entry
    cells: Sequence[str]
    top1: Estimate
    """Share of 1; NaN with the number of groups where the task has suites only; no groups for different images."""
    of_card: Estimate
    """The same in the metric that the task's card names."""


def task_accuracies(view: Evidence) -> Iterator[TaskAccuracy]:
    """Task by task, of every entry with cells."""
    for task, entry, cells in measured(view):
        top1, of_card = _accuracy(view, task, cells, "top1"), _accuracy(view, task, cells, view.card(task).metric)
        yield TaskAccuracy(task, entry, cells, top1, of_card)


def _accuracy(evidence: Evidence, task: str, cells: Sequence[str], metric: str) -> Estimate:
    names = evidence.set_names(task)
    level = level_of(evidence, cells, ["test"] if "test" in names else names, metric)
    if level is None:
        return Estimate(math.nan, (), len(cells), 0)
    return level if "test" in names else replace(level, effect=math.nan, components=())
