"""The numbers of the plot of differences, CAR-FT minus FT, with every interval that the records give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.figures.style import Tables
from reports.tables.rows import rows_of

CONTRAST = "CAR-FT - FT"
#: where a difference is measured -> (claim, part) that gives the mean over tasks
MEANS = {"ID test": ("C3", f"{CONTRAST}, ID test"), "mean OOD": ("C4", f"{CONTRAST}, mean of suites")}
MEAN = "mean of tasks"
HELD = "the intervals hold it already: each study was searched several times"


def difference_data(tables: Tables) -> list[dict[str, Any]]:
    """One row per task and place, and one for the mean over the tasks of a scope, last. Points.

    low, high: over seeds and test images. search, tasks: [low, high] with the luck of the search added, and of the mean
    over tasks as a sample; None where the records do not give them.
    """
    table, parts, uncertainty = tables["differences"], tables["verdicts"], tables["uncertainty"]
    widths = {(r["scope"], r["where"], r["task"]): r for r in rows_of(_of_contrast(uncertainty))}
    rows = rows_of(_of_contrast(table))
    found = [_row(r, r["task"], r["where"], widths.get((r["scope"], r["where"], r["task"]))) for r in rows]
    named = {(r["scope"], r["claim"], r["part"]): r for r in rows_of(parts)}
    several = len({scope for scope, _, _ in named}) > 1
    for where, (claim, part) in MEANS.items():
        for (scope, *_), row in ((key, r) for key, r in named.items() if key[1:] == (claim, part)):
            if row["n_tasks"] > 1:
                name = MEAN + (f", {scope}" if several else "")
                sample = named.get((scope, claim, f"{part}, tasks as a sample"), {})
                made = _row(row, name, where, widths.get((scope, where, MEAN)))
                found.append({**made, "mean": True, "tasks": _bounds(sample.get("low"), sample.get("high"))})
    return [row for row in found if row["effect"] is not None]


def interval_choices(rows: Sequence[Mapping[str, Any]], uncertainty: pd.DataFrame) -> list[dict[str, str]]:
    """The intervals that a reader can choose: name, label, and why it cannot be had; empty where it can."""
    without = _no_search(rows, uncertainty)
    held = "searches, " if without == HELD else ""
    return [
        {"name": "seeds", "label": f"{held}seeds and test images", "lacks": ""},
        {"name": "search", "label": "plus the luck of the search", "lacks": without},
        {"name": "tasks", "label": "tasks as a sample", "lacks": _no_tasks(rows)},
    ]


def _no_search(rows: Sequence[Mapping[str, Any]], uncertainty: pd.DataFrame) -> str:
    if any(row["search"] for row in rows):
        return ""
    own = _of_contrast(uncertainty)
    if not len(own) or not own["half_width"].notna().any():
        return f"one {'seed' if (own['n_seeds'] < 2).any() else 'group'} gives no interval"
    if own["se_hyperparameters"].notna().any():
        return HELD
    return "studies of one trial do not show it"


def _no_tasks(rows: Sequence[Mapping[str, Any]]) -> str:
    if any(row["tasks"] for row in rows):
        return ""
    return "it needs two tasks" if not any(row.get("mean") for row in rows) else "it cannot be computed"


def _of_contrast(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["contrast"] == CONTRAST] if len(table) else table


def _row(row: Mapping[str, Any], task: str, where: str, width: Mapping[str, Any] | None) -> dict[str, Any]:
    low, high = _bounds(row["low"], row["high"]) or (None, None)
    made = {"task": task, "where": where, "effect": percent(row["effect"]), "low": low, "high": high}
    return {**made, "search": _with_search(row["effect"], width), "tasks": None}


def _with_search(effect: float, width: Mapping[str, Any] | None) -> list[float] | None:
    """The interval with the luck of the search; None where the interval holds it already, or nothing is known of it."""
    if width is None or not width["half_width_with_search"] > width["half_width"]:
        return None
    half = width["half_width_with_search"]
    return _bounds(effect - half, effect + half)


def _bounds(low: float | None, high: float | None) -> list[float] | None:
    shown = [percent(value) for value in (low, high)]
    return [value for value in shown if value is not None] if None not in shown else None


def percent(value: float | None) -> float | None:
    """A share of 1 in percent or points with two decimals; None where there is none."""
    return None if value is None or not math.isfinite(value) else round(100 * float(value), 2)
