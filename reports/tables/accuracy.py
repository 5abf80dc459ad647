"""Accuracies: levels, task by task, along the curves of WiSE-FT, cell by cell, and those that others report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from carft.store.study import StudyFile
from reports.analysis.levels import chance_of_contexts, level_table
from reports.analysis.pairing import Mismatch, contributions
from reports.evidence.evidence import VALIDATION, Entry, Evidence
from reports.evidence.references import imagenet_references
from reports.stats.intervals import Estimate, two_way
from reports.tables.table import COPIED, LEVEL_FORMULAS, LEVEL_INTERVAL, MEAN, Formula, Row, Sources, TableCard

CHANCE = Formula("1 over the number of known contexts of the task.")

LEVELS_CARD = TableCard(
    "levels",
    "What each method reaches",
    "Means in % over the tasks that zero-shot, FT and CAR-FT all have, with 95 % intervals. The intervals of two "
    "methods do not tell whether they differ; the paired differences do.",
    lambda sources: level_table(sources.evidence),
    ("place", "method"),
    shares=("value", "low", "high", "chance"),
    formulas={
        "value": Formula(
            "Unweighted mean over tasks of the mean over confirm seeds of the metric: context recognition (macro "
            "over contexts, mean over the ID test set and all suites), top-1 on the ID test set, or mean top-1 "
            "over the suites."
        ),
        "chance": Formula("Mean over tasks of 1 over the number of known contexts; empty for accuracy."),
        **LEVEL_FORMULAS,
    },
)


def task_table(evidence: Evidence) -> pd.DataFrame:
    """One row per task and entry: n, test_top1 with its interval, every suite, mean OOD and context recognition.

    Values are shares of 1, means over confirm seeds; low and high bound test_top1 at 95 %. test_card_metric is the
    accuracy in the metric that the task's card names (card_metric), with its interval.
    """
    rows = []
    for view in evidence.views():
        for task in view.tasks:
            for entry in view.entries():
                if cells := view.cells(task, entry):
                    rows.append(_task_row(view, task, entry, cells))
    return pd.DataFrame(rows)


TASKS_CARD = TableCard(
    "tasks",
    "Task by task",
    "Top-1 in %, means over confirm seeds, with the 95 % interval of the ID test accuracy. The columns beside the "
    "ID test have no interval here; the paired differences do. WiSE-FT's alpha was chosen on validation. Where a "
    "task's card names mean per class as the usual metric, that accuracy and its interval stand beside top-1.",
    lambda sources: task_table(sources.evidence),
    ("task", "method"),
    shares=(
        *("test_top1", "low", "high", "val_top1", "test_mean_per_class", "ood/*", "*context_top1"),
        *("test_card_metric", "card_low", "card_high", "context_chance"),
    ),
    hidden=("cells", "scale", "val_top1", "test_mean_per_class"),
    headings={
        "test_top1": "ID test",
        "ood/mean": "mean OOD",
        "context_top1": "context ID",
        "ood_context_top1": "context OOD",
        "context_chance": "context by chance",
        "card_metric": "usual metric",
        "test_card_metric": "ID test in it",
        "card_low": "its low",
        "card_high": "its high",
    },
    formulas={
        "test_top1": Formula(f"{MEAN} test/top1 (share of images whose largest logit is the label's).", "test/top1"),
        "val_top1": Formula(f"{MEAN} val/top1.", "val/top1"),
        "test_mean_per_class": Formula(f"{MEAN} test/mean_per_class.", "test/mean_per_class"),
        "test_card_metric": Formula(f"{MEAN} test/top1 or test/mean_per_class, as the task's card says."),
        "card_metric": Formula("The field's usual metric of the task, from its card."),
        "card_low": Formula(LEVEL_INTERVAL),
        "card_high": Formula(LEVEL_INTERVAL),
        "ood/mean": Formula(f"{MEAN} ood/mean/top1, itself the mean over the suites.", "ood/mean/top1"),
        "ood_context_top1": Formula(f"{MEAN} ood/context_top1, the mean over suites.", "ood/context_top1"),
        "context_top1": Formula(f"{MEAN} test/context_top1 (macro over contexts).", "test/context_top1"),
        "context_chance": CHANCE,
        "ood/*": Formula(f"{MEAN} top-1 on the suite.", "ood/*/top1"),
        **LEVEL_FORMULAS,
    },
)


def _task_row(evidence: Evidence, task: str, entry: Entry, cells: Sequence[str]) -> dict[str, object]:
    estimate, metric = _accuracy(evidence, task, entry, cells, "top1"), evidence.card(task).metric
    of_card = estimate if metric == "top1" else _accuracy(evidence, task, entry, cells, metric)
    low, high = estimate.level_interval()
    card_low, card_high = of_card.level_interval()
    mean = partial(_mean, [evidence.metrics(cell) for cell in cells])
    return {
        "task": evidence.label(task),
        "method": entry.label,
        "scope": evidence.name,
        "scale": evidence.scale,
        "selected_on": evidence.selected_on(entry),
        "n_seeds": estimate.n_seeds,
        "n_groups": estimate.n_groups,
        "val_top1": mean("val/top1"),
        "test_top1": estimate.effect,
        "low": low,
        "high": high,
        "test_mean_per_class": mean("test/mean_per_class"),
        **{name: mean(f"{name}/top1") for name in evidence.suites(task)},
        "ood/mean": mean("ood/mean/top1"),
        "context_top1": mean("test/context_top1"),
        "ood_context_top1": mean("ood/context_top1"),
        "cells": " ".join(cells),
        "card_metric": metric,
        "test_card_metric": of_card.effect,
        "card_low": card_low,
        "card_high": card_high,
        "context_chance": chance_of_contexts(evidence, [task]),
    }


def _accuracy(evidence: Evidence, task: str, entry: Entry, cells: Sequence[str], what: str) -> Estimate:
    """ID test accuracy in a metric.

    NaN with the number of groups where a task has suites only; no groups for different images.
    """
    names = evidence.set_names(task)
    has_test = "test" in names
    try:
        made = contributions(evidence, cells, ["test"] if has_test else names, what)
    except Mismatch:
        made = None
    if made is None or not has_test:
        return Estimate(np.nan, (), len(cells), 0 if made is None else made.values.shape[1])
    return two_way(made, seeds_vary=evidence.methods[entry.method].kind != "untrained")


CURVE_METRICS = ("val/top1", "test/top1", "ood/mean/top1", "test/context_top1", "ood/context_top1")


def curve_table(evidence: Evidence) -> pd.DataFrame:
    """WiSE-FT curves: per task, parent and alpha, the means over seeds of val, ID and OOD top-1."""
    rows = []
    for view in evidence.views():
        for task, parent, alpha in product(view.tasks, view.trained_methods, view.alphas()):
            if cells := view.cells(task, Entry("wise_ft", parent, alpha)):
                what = {"task": view.label(task), "parent": parent, "alpha": alpha}
                sizes = {"scope": view.name, "scale": view.scale, "n_seeds": len(cells)}
                metrics = [view.metrics(cell) for cell in cells]
                means = {name: _mean(metrics, name) for name in CURVE_METRICS}
                chance = {"context_chance": chance_of_contexts(view, [task])}
                rows.append({**what, **sizes, **means, **chance, "cells": " ".join(cells)})
    return pd.DataFrame(rows)


def _curve_cells(sources: Sources, row: Row) -> Sequence[str]:
    """Interpolations of the parent of a row with its alpha."""
    task = sources.evidence.archive.task(row["task"])
    return sources.view(row).cells(task, Entry("wise_ft", row["parent"], row["alpha"]))


WISE_CARD = TableCard(
    "wise",
    "WiSE-FT curves",
    "Means over seeds in %, from the pretrained (alpha 0) to the fine-tuned model (alpha 1).",
    lambda sources: curve_table(sources.evidence),
    ("task", "parent", "alpha"),
    shares=("*top1", "context_chance"),
    formulas={name: Formula(f"{MEAN} {name}.", name) for name in CURVE_METRICS} | {"context_chance": CHANCE},
    cells=_curve_cells,
)


def _mean(of_cells: Sequence[Mapping[str, float]], metric: str) -> float:
    """The mean of a metric over the metrics of cells; NaN where one of them has none."""
    return float(np.mean([metrics.get(metric, np.nan) for metrics in of_cells]))


CONFIRMED_COLUMNS = (
    *("scope", "scale", "task", "method", "search", "seed"),
    *("val_top1", "test_top1", "ood_mean", "context_top1", "context_chance"),
)


def confirmed_table(evidence: Evidence) -> pd.DataFrame:
    """Hyperparameters and shares of 1 of every finished confirm cell.

    context_top1: context recognition, the mean over all held-out sets, each a mean over its contexts.
    """
    rows = [
        _confirmed_row(view, study, cell)
        for view in evidence.views()
        for study in view.studies
        for cell in study.confirm
        if cell in view.records and view.archive.evaluated(cell)
    ]
    last = ("selected_on", "cell")
    tuned = dict.fromkeys(name for row in rows for name in row if name not in (*CONFIRMED_COLUMNS, *last))
    return pd.DataFrame(rows, columns=[*CONFIRMED_COLUMNS, *tuned, *last])


CONFIRMED_CARD = TableCard(
    "confirmed",
    "Confirm cells",
    "Every confirm cell of trained methods with its hyperparameters and what it reaches, in %.",
    lambda sources: confirmed_table(sources.evidence),
    ("scope", "task", "method", "search", "seed"),
    shares=("*top1", "ood_mean", "context_chance"),
    formulas={
        "context_chance": CHANCE,
        "context_top1": Formula("Mean over the held-out sets of SET/context_top1 (macro over contexts)."),
        "val_top1": Formula("The cell's val/top1.", "val/top1"),
        "test_top1": Formula("The cell's test/top1.", "test/top1"),
        "ood_mean": Formula("The cell's ood/mean/top1.", "ood/mean/top1"),
        "*": COPIED,
    },
    on_page=False,
)


def _confirmed_row(view: Evidence, study: StudyFile, cell: str) -> dict[str, Any]:
    record, metrics = view.records[cell], view.metrics(cell)
    names = [f"{name}/context_top1" for name in view.set_names(study.task)]
    recognised = [metrics[name] for name in names if metrics.get(name) is not None]
    return {
        "scope": view.name,
        "scale": view.scale,
        "task": view.label(study.task),
        "method": study.method,
        "search": study.search,
        "seed": record.cell.seed,
        "val_top1": record.metrics["val/top1"],
        "test_top1": metrics.get("test/top1"),
        "ood_mean": metrics.get("ood/mean/top1"),
        "context_top1": sum(recognised) / len(recognised) if recognised else None,
        "context_chance": chance_of_contexts(view, [study.task]),
        **record.cell.hyperparameters,
        "selected_on": VALIDATION,
        "cell": cell,
    }


REFERENCES_CARD = TableCard(
    "references",
    "What others report at paper scale",
    "Top-1 in %, CLIP ViT-B/16 fine-tuned on ImageNet. Not measured here and not comparable with any number above: "
    "other model, other data, and pipelines of others. Of the paper itself only the abstract was at hand.",
    lambda sources: imagenet_references(),
    ("method", "source"),
    formulas={"*": Formula("Copied from its source (reports/evidence/reference_numbers.csv); nothing was computed.")},
    cells=lambda sources, row: (),
)
