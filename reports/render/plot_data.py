"""The numbers of the interactive plots, as plain lists for the script of the page. Shares of 1 become percent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from reports.figures.context_figures import recognised
from reports.figures.style import Tables, colour, drawn_entries, label, marker, prompt_words
from reports.render.difference_data import difference_data, interval_choices, percent
from reports.render.task_names import told_apart
from reports.tables.rows import rows_of

#: marker of matplotlib -> symbol of Observable Plot; each has an area, since marks are filled
SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle",
    "D": "diamond",
    "v": "wye",
    "P": "cross",
    "X": "diamond2",
    "p": "hexagon",
    "h": "hexagon",
}

#: column of a trial -> its name; the first that a trial has is the axis of its plot
AXES = (("lr", "learning rate"), ("l2", "penalty"))


def plot_data(tables: Tables) -> dict[str, Any]:
    """The data of all plots; a plot without numbers has an empty list.

    differences: CAR-FT minus FT in points, for each task and the mean. intervals: those of differences to choose from.
    points and curves: ID and OOD accuracy of the methods that figures draw. contexts: recognition of each. trials: one
    point for each search trial. methods: name, colour and symbol of each.
    """
    tables = told_apart(tables)
    trials, differences = _trials(tables["trials"]), difference_data(tables)
    points, curves = _points(tables["tasks"]), _curves(tables["wise"])
    named = ("tasks", "trials", "contexts")
    entries = [entry for name in named for entry in tables[name].get("method", ())]  # an empty table has no columns
    return {
        "methods": {label(m): {"colour": colour(m), "symbol": _symbol(m)} for m in dict.fromkeys(entries)},
        "differences": differences,
        "intervals": interval_choices(differences, tables["uncertainty"]),
        "points": points,
        "curves": curves if points else [],
        "contexts": _contexts(tables["contexts"]),
        "trials": trials,
    }


def _symbol(entry: str) -> str:
    return SYMBOLS.get(marker(entry), "star")


def _percent(row: Mapping[str, Any], columns: Iterable[str]) -> list[float | None]:
    return [percent(row.get(column)) for column in columns]


def _points(tasks: pd.DataFrame) -> list[dict[str, Any]]:
    found = []
    drawn = drawn_entries(tasks.get("method", ()))
    for row in (row for row in rows_of(tasks) if row["method"] in drawn):
        inside, outside, low, high = _percent(row, ("test_top1", "ood/mean", "low", "high"))
        if inside is not None and outside is not None:
            what = {"task": row["task"], "method": label(row["method"])}
            found.append({**what, "id": inside, "ood": outside, "low": low, "high": high})
    return found


def _curves(curves: pd.DataFrame) -> list[dict[str, Any]]:
    found = []
    drawn = drawn_entries(f"wise_ft({parent})" for parent in curves.get("parent", ()))
    for row in (row for row in rows_of(curves) if f"wise_ft({row['parent']})" in drawn):
        inside, outside = _percent(row, ("test/top1", "ood/mean/top1"))
        if inside is not None and outside is not None:
            what = {"task": row["task"], "parent": label(row["parent"]), "alpha": row["alpha"]}
            found.append({**what, "id": inside, "ood": outside})
    return found


def _contexts(contexts: pd.DataFrame) -> list[dict[str, Any]]:
    """Recognition in % of each scope, context and method, contexts of training (``seen``) first."""
    found = []
    for scope, of_scope in contexts.groupby("scope", sort=False) if len(contexts) else ():
        for row in rows_of(recognised(of_scope).reset_index()):
            context, seen = prompt_words(row["context"]), bool(row["seen"])
            what = {"scope": scope, "method": label(row["method"]), "context": context, "seen": seen}
            found.append({**what, "share": round(100 * row["hits"] / row["images"], 2), "images": int(row["images"])})
    return found


def _trials(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Score in % and minus the mean of the task's trials, so that easy and hard tasks share one colour scale.

    x and along: the hyperparameter on the axis and its name; a linear probe is searched over its penalty alone.
    """
    if trials.empty:
        return []
    centre = trials.groupby("task")["val/top1"].transform("mean")
    trials = trials.assign(relative=trials["val/top1"] - centre)
    found = []
    for row in rows_of(trials):
        score, relative = _percent(row, ("val/top1", "relative"))
        weight = row.get("kl_weight")
        values = ((name, row.get(column)) for column, name in AXES)
        along = next(((name, value) for name, value in values if value is not None and math.isfinite(value)), None)
        if score is None or along is None:
            continue
        found.append(
            {
                "task": row["task"],
                "method": label(row["method"]),
                "cell": row["cell"],
                "along": along[0],
                "x": along[1],
                "kl": None if weight is None or not math.isfinite(weight) else weight,
                "score": score,
                "relative": relative,
                "won": bool(row["won"]),
            }
        )
    return found
