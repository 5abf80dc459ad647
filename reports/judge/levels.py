"""Levels: what one method reaches in context recognition, ID and OOD, and what guessing would reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from carft.config.cell import Cell
from reports.judge.conduct import Conduct
from reports.judge.contrasts.contrast import PLACES, Sets, every_set
from reports.judge.entry import ZERO_SHOT, Entry
from reports.judge.estimate import Estimate
from reports.judge.evidence import Evidence
from reports.judge.intervals.pooling import pooled
from reports.judge.intervals.two_way import two_way
from reports.judge.pairing import Mismatch, contributions
from reports.read.folder import Folder
from reports.read.scopes import Scope

#: what is measured -> (metric, the sets it is measured on)
LEVELS: dict[str, tuple[str, Sets]] = {
    "contexts": ("context", every_set),
    **{place: ("top1", sets) for place, sets in PLACES},
}
TaskLevels = dict[str, tuple[Estimate, tuple[str, ...]]]


def chance_of_contexts(evidence: Evidence, tasks: Sequence[str]) -> float:
    """The share of contexts that guessing recognises: the mean over tasks of 1 over the number of known contexts.

    NaN where the card of a task names no context.
    """
    counts = np.array([len(evidence.card(task).contexts) for task in tasks])
    if not counts.all():
        return math.nan
    return sum((1 / counts).tolist()) / len(counts)


def chance_of_classes(evidence: Evidence, tasks: Sequence[str]) -> float:
    """The share of images whose class guessing gets right: the mean over tasks of 1 over the number of classes."""
    return sum(1 / len(evidence.card(task).classes) for task in tasks) / len(tasks)


#: metric of the zero-shot model -> what it does with a share of contexts or images, and what guessing would reach
RECOGNISED: Mapping[str, tuple[str, Callable[[Evidence, Sequence[str]], float]]] = {
    "context": ("recognises {} of contexts", chance_of_contexts),
    "top1": ("names the class of {} of images", chance_of_classes),
}


@dataclass(frozen=True)
class Recognition:
    """What the zero-shot model gets right, mean over tasks and held-out sets, beside what guessing would."""

    metric: str
    """Of :data:`RECOGNISED`."""
    level: Estimate
    """Share of 1."""
    chance: float
    """Share of 1 that guessing would reach on the same tasks."""

    @staticmethod
    def of(evidence: Evidence, metric: str, sets: Sets = every_set) -> Recognition | None:
        """That of a scope; None where no zero-shot cell was evaluated on the sets, or with known contexts."""
        by_task = levels_by_task(evidence, ZERO_SHOT, metric, sets)
        if not by_task:
            return None
        chance = RECOGNISED[metric][1](evidence, list(by_task))
        return Recognition(metric, pooled([level for level, _ in by_task.values()]), chance)

    @staticmethod
    def of_cell(folder: Folder, cell: Cell, metric: str) -> Recognition | None:
        """That of one zero-shot cell; None where it has no record, or a held-out set has no value."""
        catalog = folder.catalog
        scope = Scope.of(cell, catalog, catalog.pools([cell.task]))
        alone = Evidence(folder, Conduct(folder), {}, scope, scope.name, (), ())
        sets = alone.set_names(cell.task)
        if not sets or not folder.is_open(cell.id, cell.task, sets):
            return None
        level = level_of(alone, [cell.id], sets, metric)
        return Recognition(metric, level, RECOGNISED[metric][1](alone, [cell.task])) if level else None

    @property
    def is_above_chance(self) -> bool:
        """Whether the whole interval lies above chance; without an interval it does not."""
        return self.level.level_interval()[0] > self.chance

    @property
    def words(self) -> str:
        """``zero-shot recognises 20.0 % of contexts (95 %: 12.1 to 30.2; chance 16.7)``."""
        low, high = self.level.level_interval()
        interval = "no interval" if math.isnan(low) else f"95 %: {100 * low:.1f} to {100 * high:.1f}"
        share = RECOGNISED[self.metric][0].format(f"{100 * self.level.effect:.1f} %")
        return f"zero-shot {share} ({interval}; chance {100 * self.chance:.1f})"


def unknown_classes(recognition: Recognition | None) -> str:
    """That a model does not know the classes of a task, and what to use; empty where it does, or nothing is known.

    recognition: of classes.
    """
    if recognition is None or recognition.is_above_chance or math.isnan(recognition.level.level_interval()[0]):
        return ""
    return (
        f"This model does not know these classes: {recognition.words}. Use one that was trained on such "
        "images and words: --model ViT-B-16 --pretrained openai, or a larger one."
    )


def level_of(evidence: Evidence, cells: Sequence[str], sets: Sequence[str], what: str) -> Estimate | None:
    """What the cells of one entry reach in a metric, averaged over the sets.

    None where a set has no known context, and where the cells were evaluated on other images.
    """
    try:
        made = contributions(evidence, cells, sets, what)
    except Mismatch:
        return None
    if made is None:
        return None
    method = evidence.methods[evidence.records[cells[0]].cell.method]
    return two_way(made, seeds_vary=method.kind != "untrained")


def levels_by_task(evidence: Evidence, entry: Entry, what: str, sets: Sets) -> TaskLevels:
    """Task -> (level, cells), of the tasks that have the sets and evaluated cells of the entry.

    Tasks whose predictions are of different images are left out, and those that cannot be read.
    """
    levels: TaskLevels = {}
    for task in evidence.tasks:
        names, cells = sets(evidence, task), evidence.cells(task, entry)
        if cells and names and {*names} <= {*evidence.set_names(task), "val"}:
            can_read = all(evidence.folder.files.has_outcomes(cell, task, names) for cell in cells)
            level = level_of(evidence, cells, names, what) if can_read else None
            if level is not None:
                levels[task] = (level, cells)
    return levels
