"""Confirm cells, one row each: what the means and intervals of the other tables are made of."""

from __future__ import annotations

from typing import Any

import pandas as pd

from carft.store.study import StudyFile
from reports.evidence.evidence import VALIDATION, Evidence

COLUMNS = ("scope", "scale", "task", "method", "search", "seed", "val_top1", "test_top1", "ood_mean", "context_top1")


def confirmed_table(evidence: Evidence) -> pd.DataFrame:
    """Hyperparameters and shares of 1 of every finished confirm cell.

    context_top1: context recognition, the mean over all held-out sets, each a mean over its contexts.
    """
    rows = [
        _row(view, study, cell)
        for view in evidence.views()
        for study in view.studies
        for cell in study.confirm
        if cell in view.records and view.archive.evaluated(cell)
    ]
    last = ("selected_on", "cell")
    tuned = dict.fromkeys(name for row in rows for name in row if name not in (*COLUMNS, *last))
    return pd.DataFrame(rows, columns=[*COLUMNS, *tuned, *last])


def _row(view: Evidence, study: StudyFile, cell: str) -> dict[str, Any]:
    record, metrics = view.records[cell], view.metrics(cell)
    known = [found for name in view.set_names(study.task) if (found := metrics.get(f"{name}/context_top1")) is not None]
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
        "context_top1": sum(known) / len(known) if known else None,
        **record.cell.hyperparameters,
        "selected_on": VALIDATION,
        "cell": cell,
    }
