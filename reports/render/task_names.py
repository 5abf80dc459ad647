"""Names of tasks on the page: one for each task and model, also where several models were tuned on the same tasks."""

from __future__ import annotations

import pandas as pd

from reports.evidence.scopes import model_words
from reports.figures.style import Tables


def told_apart(tables: Tables) -> dict[str, pd.DataFrame]:
    """The tables, in which a task of several scopes is named with its model, but for that of the family's own model."""
    tasks = tables["tasks"]
    counts = tasks.groupby("task")["scope"].nunique() if len(tasks) else pd.Series(dtype=int)
    shared = {*counts[counts > 1].index}
    return {name: _renamed(table, shared) if shared else table for name, table in tables.items()}


def _renamed(table: pd.DataFrame, shared: set[str]) -> pd.DataFrame:
    if not {"task", "scope"} <= {*table.columns}:
        return table
    pairs = zip(table["task"], table["scope"], strict=True)
    return table.assign(task=[task + (model_words(scope) if task in shared else "") for task, scope in pairs])
