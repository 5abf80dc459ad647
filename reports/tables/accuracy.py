"""Accuracies per task, and the curves of WiSE-FT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from carft.spec.registry import METHODS, trained_methods
from reports.analysis.pairing import Mismatch, contributions
from reports.evidence.evidence import Entry, Evidence, table_entries
from reports.stats.intervals import Estimate, two_way


def task_table(evidence: Evidence) -> pd.DataFrame:
    """One row per task and entry: n, test_top1 with its interval, every suite, mean OOD and context recognition.

    Values are shares of 1, means over confirm seeds; low and high bound test_top1 at 95 %. test_card_metric is the
    accuracy in the metric that the task's card names (card_metric), with its interval.
    """
    rows = []
    for view in evidence.views():
        for task in view.tasks:
            for entry in table_entries():
                if cells := view.cells(task, entry):
                    rows.append(_task_row(view, task, entry, cells))
    return pd.DataFrame(rows)


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
        "selected_on": entry.selected_on,
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
        "context_chance": 1 / len(evidence.card(task).contexts) if evidence.card(task).contexts else np.nan,
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
    return two_way(made, seeds_vary=METHODS[entry.method].kind != "untrained")


CURVE_METRICS = ("val/top1", "test/top1", "ood/mean/top1", "test/context_top1", "ood/context_top1")


def curve_table(evidence: Evidence) -> pd.DataFrame:
    """WiSE-FT curves: per task, parent and alpha, the means over seeds of val, ID and OOD top-1."""
    rows = []
    for view in evidence.views():
        for task, parent, alpha in product(view.tasks, trained_methods(), view.alphas()):
            if cells := view.cells(task, Entry("wise_ft", parent, alpha)):
                what = {"task": view.label(task), "parent": parent, "alpha": alpha}
                sizes = {"scope": view.name, "scale": view.scale, "n_seeds": len(cells)}
                metrics = [view.metrics(cell) for cell in cells]
                means = {name: _mean(metrics, name) for name in CURVE_METRICS}
                rows.append({**what, **sizes, **means, "cells": " ".join(cells)})
    return pd.DataFrame(rows)


def _mean(of_cells: Sequence[Mapping[str, float]], metric: str) -> float:
    """The mean of a metric over the metrics of cells; NaN where one of them has none."""
    return float(np.mean([metrics.get(metric, np.nan) for metrics in of_cells]))
