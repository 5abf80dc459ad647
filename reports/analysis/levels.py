"""Levels: what one method reaches in context recognition, ID and OOD, and what guessing would reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.store.records import Store
from reports.analysis.contrasts import PLACES, Sets, every_set
from reports.analysis.pairing import Mismatch, contributions
from reports.evidence.evidence import ZERO_SHOT, Entry, Evidence
from reports.evidence.references import BACKBONES, DATASETS, reference_numbers, same_start
from reports.evidence.results import Problem, Results
from reports.evidence.scopes import Scope
from reports.stats.intervals import Estimate, pooled, two_way

#: what is measured -> (metric, the sets it is measured on)
LEVELS: dict[str, tuple[str, Sets]] = {
    "contexts": ("context", every_set),
    **{place: ("top1", sets) for place, sets in PLACES},
}
#: points of accuracy within which two pipelines agree: templates, resizing and decoding move zero-shot rows by less
AGREEMENT = 1.0
TaskLevels = dict[str, tuple[Estimate, tuple[str, ...]]]


def chance_of_contexts(evidence: Evidence, tasks: Sequence[str]) -> float:
    """The share of contexts that guessing recognises: the mean over tasks of 1 over the number of known contexts.

    NaN where the card of a task names no context.
    """
    counts = [len(evidence.card(task).contexts) for task in tasks]
    return sum(1 / count for count in counts) / len(counts) if all(counts) else math.nan


@dataclass(frozen=True)
class ContextRecognition:
    """Context recognition of the zero-shot model, mean over tasks and held-out sets, beside what chance gives."""

    level: Estimate
    """Share of 1."""
    chance: float
    """Share of 1 that guessing would reach on the same tasks."""

    @staticmethod
    def of(evidence: Evidence) -> ContextRecognition | None:
        """That of a scope; None where no zero-shot cell was evaluated on sets with known contexts."""
        levels = levels_by_task(evidence, ZERO_SHOT, "context", every_set)
        if not levels:
            return None
        return ContextRecognition(
            pooled([level for level, _ in levels.values()]), chance_of_contexts(evidence, list(levels))
        )

    @staticmethod
    def of_cell(store: Store, cell: Cell) -> ContextRecognition | None:
        """That of one evaluated zero-shot cell; None where a held-out set has no known context."""
        alone = _evidence_of_cell(store, cell)
        sets = alone.set_names(cell.task)
        level = level_of(alone, [cell.id], sets, "context") if sets else None
        return None if level is None else ContextRecognition(level, chance_of_contexts(alone, [cell.task]))

    @property
    def is_above_chance(self) -> bool:
        """Whether the whole interval lies above chance; without an interval it does not."""
        return self.level.level_interval()[0] > self.chance

    @property
    def words(self) -> str:
        """``zero-shot recognises 20.0 % of contexts (95 %: 12.1 to 30.2; chance 16.7)``."""
        low, high = (100 * bound for bound in self.level.level_interval())
        interval = "no interval" if math.isnan(low) else f"95 %: {low:.1f} to {high:.1f}"
        shares = f"{100 * self.level.effect:.1f} % of contexts ({interval}; chance {100 * self.chance:.1f})"
        return f"zero-shot recognises {shares}"


def level_of(evidence: Evidence, cells: Sequence[str], sets: Sequence[str], what: str) -> Estimate | None:
    """What the cells of one entry reach in a metric, averaged over the sets.

    None where a set has no known context, and where the cells were not evaluated on the same images.
    """
    try:
        made = contributions(evidence, cells, sets, what)
    except Mismatch:
        return None
    seeds_vary = evidence.methods[evidence.records[cells[0]].cell.method].kind != "untrained"
    return None if made is None else two_way(made, seeds_vary)


def levels_by_task(evidence: Evidence, entry: Entry, what: str, sets: Sets) -> TaskLevels:
    """Task -> (level, cells), of the tasks that have the sets and evaluated cells of the entry.

    Tasks whose predictions are of different images are left out, and those that cannot be read, which is a problem.
    """
    levels: TaskLevels = {}
    for task in evidence.tasks:
        names, cells = sets(evidence, task), evidence.cells(task, entry)
        if cells and names and {*names} <= {*evidence.set_names(task), "val"}:
            try:
                level = level_of(evidence, cells, names, what)
            except UserError as error:
                evidence.archive.problems.append(Problem("corrupt predictions", cells[0], error.message))
                continue
            if level is not None:
                levels[task] = (level, cells)
    return levels


def _evidence_of_cell(store: Store, cell: Cell) -> Evidence:
    results = Results(store, {cell.id: store.read(cell.id)}, (), [], store.catalog)
    scope = Scope.of(cell, store.catalog, store.catalog.pools([cell.task]))
    return Evidence(results, scope, scope.name, (), ())


def zero_shot_check(store: Store, cell: Cell) -> list[dict[str, Any]]:
    """A zero-shot cell's measured top-1 per set, with the nearest reference of the same model and weights.

    top1, low and high are shares of 1, reference and difference points. The interval is that of reports: images of one
    group are not independent; low and high are None with one group. answer: ``agrees`` with some reference within one
    point or within its own interval, ``differs`` from all, or ``no reference``. context_top1: context recognition,
    macro over contexts, and context_chance, what guessing would reach; None where no context is known.
    """
    alone, known = _evidence_of_cell(store, cell), reference_numbers()
    of_model = [name for name, start in BACKBONES.items() if same_start(cell.model, cell.pretrained, start)]
    known = known[known["method"].str.startswith("Zero-shot") & known["backbone"].isin(of_model)]
    metrics, rows = alone.metrics(cell.id), []
    for name in alone.set_names(cell.task):
        frame = alone.outcome(cell.id, name).frame
        level = level_of(alone, [cell.id], [name], "top1")
        bounds = (math.nan, math.nan) if level is None else level.level_interval()
        recognised = metrics.get(f"{name}/context_top1")
        row: dict[str, Any] = {
            "set": name,
            "images": len(frame.labels),
            "groups": len(frame.group_names),
            "top1": metrics[f"{name}/top1"],
            "low": None if math.isnan(bounds[0]) else bounds[0],
            "high": None if math.isnan(bounds[1]) else bounds[1],
            "context_top1": recognised,
            "context_chance": None if recognised is None else chance_of_contexts(alone, [cell.task]),
            **dict.fromkeys(("reference", "source", "confidence", "difference")),
            "answer": "no reference",
        }
        references = known[known["dataset"] == DATASETS.get((cell.task, name), "")]
        gaps = (100 * row["top1"] - references["value"]).abs()
        if len(gaps):
            nearest = references.loc[gaps.idxmin()]
            value = float(nearest["value"])
            agrees = gaps.min() <= AGREEMENT or bounds[0] <= value / 100 <= bounds[1]
            row |= {"reference": value, "source": nearest["source"], "confidence": nearest["confidence"]}
            row |= {"difference": 100 * row["top1"] - value, "answer": "agrees" if agrees else "differs"}
        rows.append(row)
    return rows
