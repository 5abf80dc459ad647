"""Equal strength: a KL term with contexts against its controls, at weights that move the features equally far.

The experiment is registered in audit/README.md, and its recipe is ``strength``. It decides no claim of the ledger. Arms
and their weights are those of the journal's first plan with arms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from typing import Any

import numpy as np

from carft.config.cell import Cell, Training
from carft.store.journal import Line
from reports.analysis.contrasts import Sets, every_suite, id_test
from reports.analysis.equal_settings import MEASURES, EvaluatedCell, evaluated_cells
from reports.analysis.pairing import Mismatch, difference
from reports.evidence.evidence import FT, Evidence
from reports.stats.intervals import Contributions, Estimate, pooled, two_way

#: margin of equivalence out of distribution, a share of 1
MARGIN = 0.003
#: the largest ratio of two displacements of features that are still comparable
LARGEST_RATIO = 1.1
#: methods of the registered contrast, first minus second, both at temperature 1
PRIMARY = ("car_ft", "car_ft_rotated")
#: the measure of the registered contrast
PRIMARY_MEASURE = "mean OOD"
DISPLACEMENT = "train/displacement"
#: measure -> the metric of an image, and its sets
MEASURED: Mapping[str, tuple[str, Sets]] = {
    "ID test": ("top1", id_test),
    "mean OOD": ("top1", every_suite),
    "contexts of the suites": ("context", every_suite),
}


class StrengthAnswer(Enum):
    """What a contrast shows. The first that fits holds, in this order."""

    NOT_FINISHED = auto()
    """Cells are missing: nothing is decided."""
    NOT_COMPARABLE = auto()
    """An arm does not reach the strength, or the arms differ in displacement by more than 10 %."""
    HIGHER = auto()
    """The whole interval lies above 0."""
    LOWER = auto()
    """The whole interval lies below 0."""
    NO_DIFFERENCE = auto()
    """The whole interval lies within the margin."""
    OPEN = auto()


@dataclass(frozen=True)
class PlannedArm:
    """An arm of the plan."""

    name: str
    method: str
    temperature: float
    weights: Mapping[float, float]
    """Displacement that shall be reached -> KL weight; without those that it does not reach."""

    @property
    def is_primary(self) -> bool:
        """Whether it is a side of the registered contrast."""
        return self.method in PRIMARY and self.temperature == 1


@dataclass(frozen=True)
class ReachedStrength:
    """What an arm reaches at one strength."""

    arm: PlannedArm
    target: float
    """Displacement that shall be reached."""
    kl_weight: float
    """NaN where the arm does not reach the strength."""
    displacements: tuple[float, ...]
    """Reached, of every cell."""
    levels: Mapping[str, float]
    """Measure -> mean over tasks; a share of 1, NaN without cells."""
    over_ft: Mapping[str, Estimate]
    """Measure -> the arm minus fine-tuning."""
    tasks: tuple[str, ...]
    seeds: int
    """Number of seeds that every task has."""
    cells: tuple[str, ...]

    @property
    def displacement(self) -> float:
        """Mean of those reached; NaN without cells."""
        return float(np.mean(self.displacements)) if self.displacements else math.nan


@dataclass(frozen=True)
class MatchedContrast:
    """Contexts minus rotated contexts at one strength, or as the mean of all."""

    is_registered: bool
    """Whether it is the registered contrast, at temperature 1; otherwise the two have an equal entropy."""
    target: float | None
    """Displacement that shall be reached; None for the mean."""
    sides: tuple[str, str]
    """Names of the arms."""
    unreached: Mapping[float, tuple[str, ...]]
    """Displacement -> names of the arms that do not reach it; without those that both reach."""
    estimates: Mapping[str, Estimate]
    """Measure -> first minus second; empty without cells."""
    ratio: float
    """Larger over smaller displacement reached, the largest of all strengths; NaN where one is not reached."""
    excess: float
    """Displacement of the first over that of the second, minus 1, mean over strengths; NaN as ``ratio``."""
    is_finished: bool
    """Whether both sides have all planned seeds on every task of the family."""
    tasks: tuple[str, ...]
    seeds: int
    cells: tuple[str, ...]

    @property
    def answer(self) -> StrengthAnswer:
        """What it shows out of distribution."""
        if not self.is_finished:
            return StrengthAnswer.NOT_FINISHED
        if math.isnan(self.ratio) or self.ratio > LARGEST_RATIO:
            return StrengthAnswer.NOT_COMPARABLE
        if PRIMARY_MEASURE not in self.estimates:
            return StrengthAnswer.NOT_FINISHED
        low, high = self.estimates[PRIMARY_MEASURE].interval()
        if low > 0:
            return StrengthAnswer.HIGHER
        if high < 0:
            return StrengthAnswer.LOWER
        if low > -MARGIN and high < MARGIN:
            return StrengthAnswer.NO_DIFFERENCE
        return StrengthAnswer.OPEN


#: task -> seed -> cell
ByTask = Mapping[str, Mapping[int, EvaluatedCell]]


@dataclass(frozen=True)
class MatchedStrength:
    """The experiment in one scope."""

    evidence: Evidence
    arms: Sequence[PlannedArm]
    lr: float
    training: Training
    seeds: frozenset[int]
    planned: frozenset[str]
    """Ids of the cells of this plan, and of plans that differ in their tasks alone. Other cells do not count."""

    @staticmethod
    def of(evidence: Evidence) -> MatchedStrength | None:
        """That of a scope; None where the journal plans no arms."""
        for line in evidence.archive.protocol.journal.of("planned"):
            if line.recipe.get("arms"):
                # a later plan, which may follow results, changes nothing
                return MatchedStrength._planned(evidence, line)
        return None

    @staticmethod
    def _planned(evidence: Evidence, plan: Line) -> MatchedStrength:
        recipe: Mapping[str, Any] = plan.recipe
        seeds: set[int] = set()
        for study in plan.studies:
            seeds.update(study.seeds)
        arms = [_arm(content) for content in recipe["arms"]]
        training = Training(**recipe["training"])
        planned = _cells_planned(evidence, plan)
        return MatchedStrength(evidence, arms, recipe["grid"]["lr"][0], training, frozenset(seeds), planned)

    @cached_property
    def targets(self) -> list[float]:
        """The displacements that arms shall reach, the largest, which is the weakest term, first."""
        targets: set[float] = set()
        for arm in self.arms:
            targets.update(arm.weights)
        return sorted(targets, reverse=True)

    @cached_property
    def _cells(self) -> Mapping[tuple[str, float, float], ByTask]:
        """(method, temperature, KL weight) -> its cells; of fine-tuning the weight is 0."""
        found: dict[tuple[str, float, float], dict[str, dict[int, EvaluatedCell]]] = {}
        for one in evaluated_cells(self.evidence):
            cell = one.cell
            if self._belongs(cell):
                weight = cell.hyperparameters.get("kl_weight", 0.0)
                key = (cell.method, cell.reading.context_temperature, weight)
                found.setdefault(key, {}).setdefault(cell.task, {})[cell.seed] = one
        return found

    def _belongs(self, cell: Cell) -> bool:
        is_planned = cell.id in self.planned and cell.seed in self.seeds and cell.training == self.training
        return is_planned and cell.hyperparameters.get("lr") == self.lr

    def _of_arm(self, arm: PlannedArm, target: float) -> ByTask:
        """The cells of an arm at a strength; none where it does not reach it."""
        if target not in arm.weights:
            return {}
        return self._cells.get((arm.method, arm.temperature, arm.weights[target]), {})

    @cached_property
    def _of_ft(self) -> ByTask:
        return self._cells.get((FT.method, 1.0, 0.0), {})

    def strengths(self) -> Iterator[ReachedStrength]:
        """Every arm at every strength."""
        for arm in self.arms:
            for target in self.targets:
                yield self._strength(arm, target)

    def _strength(self, arm: PlannedArm, target: float) -> ReachedStrength:
        own = self._of_arm(arm, target)
        tasks, seeds = _complete([own])
        return ReachedStrength(
            arm=arm,
            target=target,
            kl_weight=arm.weights.get(target, math.nan),
            displacements=tuple(_displacements(own)),
            levels={name: _level(own, metric) for name, metric in MEASURES.items()},
            over_ft=self._estimates([(own, self._of_ft)]),
            tasks=tasks,
            seeds=seeds,
            cells=tuple(one.cell.id for one in _cells_of(own)),
        )

    def contrasts(self) -> Iterator[MatchedContrast]:
        """The registered contrast at every strength and as the mean of all, then that at equal entropy.

        Either is left out without its two arms.
        """
        for is_primary in (True, False):
            arms = {}
            for arm in self.arms:
                if arm.method in PRIMARY and arm.is_primary == is_primary:
                    arms[arm.method] = arm
            if arms.keys() == set(PRIMARY):
                yield from self._contrasts_of(arms[PRIMARY[0]], arms[PRIMARY[1]])

    def _contrasts_of(self, first: PlannedArm, second: PlannedArm) -> Iterator[MatchedContrast]:
        """The contrast of two arms at every strength, then the mean of all."""
        pairs = []
        for target in self.targets:
            pairs.append((self._of_arm(first, target), self._of_arm(second, target)))
            yield self._contrast(target, (first, second), pairs[-1:])
        yield self._contrast(None, (first, second), pairs)

    def _contrast(
        self, target: float | None, arms: tuple[PlannedArm, PlannedArm], pairs: Sequence[tuple[ByTask, ByTask]]
    ) -> MatchedContrast:
        """The contrast over the strengths of these pairs."""
        targets = self.targets if target is None else [target]
        sides: list[ByTask] = []
        unreached = {}
        for pair, one in zip(pairs, targets, strict=True):
            missing = tuple(arm.name for arm in arms if one not in arm.weights)
            if missing:
                unreached[one] = missing
            else:
                sides += pair
        tasks, seeds = _complete(sides)
        estimates: Mapping[str, Estimate] = {}
        ratio = excess = math.nan
        if not unreached:
            estimates = self._estimates(pairs)
            quotients = np.array([_quotient(*pair) for pair in pairs])
            ratio = float(np.maximum(quotients, 1 / quotients).max())
            excess = float(quotients.mean()) - 1
        used: dict[str, None] = {}
        for side in sides:
            for task in tasks:
                for cell in side[task].values():
                    used[cell.cell.id] = None
        has_all = set(self.evidence.wanted_tasks) <= set(tasks) and seeds == len(self.seeds)
        return MatchedContrast(
            is_registered=arms[0].is_primary,
            target=target,
            sides=(arms[0].name, arms[1].name),
            unreached=unreached,
            estimates=estimates,
            ratio=ratio,
            excess=excess,
            is_finished=has_all or not sides,
            tasks=tasks,
            seeds=seeds,
            cells=tuple(used),
        )

    def _estimates(self, pairs: Sequence[tuple[ByTask, ByTask]]) -> dict[str, Estimate]:
        """Measure -> first minus second, mean over pairs, seeds and the tasks that all sides have.

        A seed takes the place of a search: tasks are averaged within it (:func:`reports.stats.intervals.pooled`).
        """
        sides: list[ByTask] = []
        for pair in pairs:
            sides += pair
        tasks = _shared_tasks(sides, self.evidence.wanted_tasks)
        seeds = sorted(_shared_seeds(sides, tasks))
        if not seeds:
            return {}
        estimates = {}
        for measure in MEASURED:
            by_task = []
            for task in tasks:
                estimate = self._difference(pairs, task, seeds, measure)
                if estimate is not None:
                    by_task.append(estimate)
            if by_task:
                estimates[measure] = pooled(by_task)
        return estimates

    def _difference(
        self, pairs: Sequence[tuple[ByTask, ByTask]], task: str, seeds: Sequence[int], measure: str
    ) -> Estimate | None:
        """First minus second on one task, mean over pairs; None where it cannot be measured."""
        metric, sets = MEASURED[measure]
        names = sets(self.evidence, task)
        made: list[Contributions] = []
        if not names or not set(names) <= set(self.evidence.set_names(task)):
            return None
        for first, second in pairs:
            cells = [(first[task][seed].cell.id, second[task][seed].cell.id) for seed in seeds]
            try:
                found = difference(self.evidence, cells, names, metric)
            except Mismatch:
                return None
            if found is None:
                return None
            made.append(found[0])
        values = np.mean([one.values for one in made], axis=0)
        return two_way(replace(made[0], values=values, searches=np.array(seeds)))


def _cells_planned(evidence: Evidence, plan: Line) -> frozenset[str]:
    """The cells of all plans with the recipe of one, whatever their tasks: an audit plans its parts one by one."""
    asked = _without_tasks(plan)
    studies: set[str] = set()
    for line in evidence.archive.protocol.journal.of("planned"):
        if _without_tasks(line) == asked:
            for study in line.studies:
                studies.add(study.study)
    cells: set[str] = set()
    for file in evidence.archive.studies:
        if file.id in studies:
            cells.update(file.grid)
    return frozenset(cells)


def _without_tasks(plan: Line) -> dict[str, Any]:
    return {name: value for name, value in plan.recipe.items() if name != "tasks"}


def _arm(content: Mapping[str, Any]) -> PlannedArm:
    """An arm of a plan in the journal."""
    weights = {float(one["displacement"]): float(one["kl_weight"]) for one in content["strengths"]}
    return PlannedArm(content["name"], content["method"], float(content["context_temperature"]), weights)


def _shared_tasks(sides: Sequence[ByTask], tasks: Iterable[str]) -> list[str]:
    """Those of the tasks that all sides have."""
    shared = list(tasks)
    for side in sides:
        shared = [task for task in shared if task in side]
    return shared


def _shared_seeds(sides: Sequence[ByTask], tasks: Sequence[str]) -> set[int]:
    """The seeds that all sides have on every one of these tasks."""
    seeds = []
    for side in sides:
        for task in tasks:
            seeds.append(set(side[task]))
    return set.intersection(*seeds) if seeds else set()


def _complete(sides: Sequence[ByTask]) -> tuple[tuple[str, ...], int]:
    """The tasks that all sides have, and the number of seeds that all have on every one of these."""
    if not sides:
        return (), 0
    tasks = _shared_tasks(sides, sides[0])
    return tuple(tasks), len(_shared_seeds(sides, tasks))


def _cells_of(side: ByTask) -> list[EvaluatedCell]:
    """The cells of a side, task by task."""
    cells: list[EvaluatedCell] = []
    for by_seed in side.values():
        cells += by_seed.values()
    return cells


def _displacements(side: ByTask) -> list[float]:
    """The displacements that the cells of a side reach."""
    reached = []
    for one in _cells_of(side):
        if DISPLACEMENT in one.metrics:
            reached.append(one.metrics[DISPLACEMENT])
    return reached


def _quotient(first: ByTask, second: ByTask) -> float:
    """The mean displacement of the first side over that of the second; NaN where a cell has none."""
    means = []
    for side in (first, second):
        cells = _cells_of(side)
        if not cells or len(_displacements(side)) < len(cells):
            return math.nan
        means.append(float(np.mean(_displacements(side))))
    if min(means) <= 0:
        return math.nan
    return means[0] / means[1]


def _level(side: ByTask, metric: str) -> float:
    """A metric of a side, mean over seeds and then over tasks; NaN without cells."""
    if not side:
        return math.nan
    by_task = []
    for by_seed in side.values():
        values = [one.metrics.get(metric, math.nan) for one in by_seed.values()]
        by_task.append(np.mean(values))
    return float(np.mean(by_task))
