"""Paired differences: task by task, of every method against plain fine-tuning, and at equal settings."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pandas as pd

from reports.analysis.contrasts import METRIC_WORDS, OF_CARD, PLACES, Contrast, id_test, pool
from reports.analysis.equal_settings import differences_by_setting, evaluated_cells
from reports.analysis.levels import LEVELS
from reports.evidence.evidence import CAR_FT, FIXED, FT, VALIDATION, WISE, WISE_CAR, ZERO_SHOT, Entry, Evidence
from reports.tables.table import DIFFERENCE_FORMULAS, Sources, numbers_of, rows_of, table
from reports.words.flaws import flaws_of

DIFFERENCES = (
    ("CAR-FT - FT", CAR_FT, FT),
    ("FT - zero-shot", FT, ZERO_SHOT),
    ("CAR-FT - zero-shot", CAR_FT, ZERO_SHOT),
    ("WiSE(CAR-FT) - WiSE(FT)", WISE_CAR, WISE),
)
#: the numbers of an effect
EFFECT = ("effect", "low", "high", "smallest_visible", "floor")


@table(
    "Paired differences",
    "In points, with the winners that the two sides were run with. “smallest visible” is the smallest true "
    "difference that would have shown in 80 % of repetitions.",
    ["contrast", "where", "task"],
    points=("effect", "low", "high"),
    shares=("smallest_visible",),
    headings={"first_hyperparameters": "first", "second_hyperparameters": "second"},
    formulas=DIFFERENCE_FORMULAS,
)
def differences(sources: Sources) -> pd.DataFrame:
    """Paired differences per task, ID and mean OOD, with intervals and the smallest visible difference.

    All are in top-1. A task whose card names another metric has one more row for the ID test, in that metric.
    """
    asked = [(names, Contrast(*names[1:], "top1", sets), place) for names in DIFFERENCES for place, sets in PLACES]
    asked += [(names, Contrast(*names[1:], OF_CARD, id_test), "ID test") for names in DIFFERENCES]
    rows = []
    for view, ((name, first, second), contrast, place) in product(sources.evidence.views(), asked):
        result = contrast.estimate(view)
        for task, (estimate, cells) in result.estimates.items():
            metric = result.metrics[task]
            if contrast.what == OF_CARD and metric == "top1":
                continue
            rows.append(
                {
                    "contrast": name,
                    "where": f"{place}{METRIC_WORDS[metric]}",
                    "task": task,
                    **view.columns,
                    "selected_on": VALIDATION,
                    **numbers_of(estimate, *EFFECT, "n_seeds", "n_groups"),
                    "first_hyperparameters": _tuned(view, task, first),
                    "second_hyperparameters": _tuned(view, task, second),
                    "cells": " ".join(cells),
                    "metric": metric,
                }
            )
    return pd.DataFrame(rows)


def _tuned(evidence: Evidence, task: str, entry: Entry) -> str:
    """The winning hyperparameters of an entry as text; of several searches the range."""
    cells = evidence.cells(task, Entry(entry.parent or entry.method))
    each = [evidence.records[cell].cell.hyperparameters for cell in cells]
    ranges = {name: [values[name] for values in each] for name in each[0]}
    return ", ".join(f"{name.replace('_', ' ')} {_range(values)}" for name, values in ranges.items()) or "-"


def _range(values: Sequence[float]) -> str:
    """``0.0003``, or ``0.11 to 1.5``."""
    low, high = (f"{value:.2g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


@table(
    "Every method against plain fine-tuning",
    "Each trained method minus FT, and CAR-FT minus each other method: means over tasks, paired, in points. "
    "“flaws” says what is missing, or differs besides the method; such a difference decides nothing. “Equal settings” "
    "is the registered contrast of the table of that name.",
    ["contrast", "where"],
    points=("effect", "low", "high"),
    shares=("smallest_visible",),
    formulas=DIFFERENCE_FORMULAS,
)
def comparisons(sources: Sources) -> pd.DataFrame:
    """One row per scope, pair of methods and place; effect, low and high are shares of 1.

    With interpolations, WiSE-FT of FT, alpha chosen on validation, is compared with FT and with CAR-FT. Where other
    methods were searched less often, further rows compare CAR-FT with FT in as many first searches. The registered
    contrast of the table ``equal_settings`` stands beside the tuned ones.
    """
    rows = []
    for scope in sources.evidence.views():
        for (name, view, first, second), (where, (metric, sets)) in product(_compared(scope), LEVELS.items()):
            part = pool(view, Contrast(first, second, metric, sets), name)
            if part is not None and part.tasks:
                rows.append(
                    {
                        "contrast": name,
                        "where": where,
                        **view.columns,
                        "selected_on": VALIDATION,
                        **numbers_of(part, *EFFECT, "n_tasks", "n_searches", "n_seeds", "n_groups"),
                        "flaws": flaws_of(part),
                        "cells": " ".join(part.cells),
                    }
                )
    return pd.DataFrame([*rows, *_registered_rows(sources.table("equal_settings"), list(rows[0]) if rows else [])])


def _compared(view: Evidence) -> Iterator[tuple[str, Evidence, Entry, Entry]]:
    """(name, the view or fewer searches of it, first, second) of every comparison in a scope."""
    labels = {entry: view.methods[entry.method].label for entry in map(Entry, view.trained_methods)}
    others = [entry for entry in labels if _has(view, entry)]
    pairs = [(entry, FT) for entry in others if entry != FT]
    pairs += [(CAR_FT, entry) for entry in others if entry not in (FT, CAR_FT)]
    for first, second in pairs:
        yield f"{labels[first]} - {labels[second]}", view, first, second
    for entry in (FT, CAR_FT) if _has(view, WISE) else ():
        yield f"WiSE(FT) - {labels[entry]}", view, WISE, entry
    counts = view.searches_of(view.trained_methods)
    both = min(counts.get(entry.method, 0) for entry in (CAR_FT, FT))
    for count in sorted({count for count in counts.values() if count < both}):
        words = "first search" if count == 1 else f"first {count} searches"
        fewer = view.with_searches(range(1, count + 1), (CAR_FT.method, FT.method))
        yield f"{labels[CAR_FT]} - {labels[FT]}, {words}", fewer, CAR_FT, FT


def _has(view: Evidence, entry: Entry) -> bool:
    return any(view.cells(task, entry) for task in view.tasks)


def _registered_rows(equal: pd.DataFrame, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of the registered contrast in the table ``equal_settings``, with these columns."""
    for row in (row for row in rows_of(equal) if row["registered"]):
        settings = f"lr {row['lr']:g}, KL weight {row['kl_weight']:g}; t interval over {row['interval_over']}"
        row |= {"contrast": f"{row['contrast']}, equal settings", "selected_on": FIXED, "floor": row["interval_over"]}
        row |= {"n_groups": "", "flaws": f"{settings}; decides no claim"}
        yield {name: row[name] for name in columns or row}


EQUAL_INTERVAL = (
    "Effect -/+ t x SE over what “interval over” names, after the mean over seeds and searches. The bands of all "
    "points of a contrast and measure hold together: t at 1 - 2.5 % / points (Bonferroni)."
)


@table(
    "All else equal",
    "Pairs of evaluated cells (of searches, confirm cells, grids) that differ in the method alone: same task, seed, "
    "data, weights, recipe and shared hyperparameters. In points; about mechanism, and decides no claim. “registered” "
    "marks CAR-FT minus FT at KL weight 1 and the learning rate with FT's best validation accuracy. A setting with "
    "one task, search or seed has no row.",
    ["contrast", "where", "lr", "kl_weight", "others", "recipe"],
    points=("effect", "low", "high", "band_*"),
    shares=("second_val_top1", "smallest_visible"),
    formulas={
        "effect": "Mean over tasks of first minus second, over seeds and then searches of a task before.",
        "*low": EQUAL_INTERVAL,
        "*high": EQUAL_INTERVAL,
        "smallest_visible": "(t(97.5 %) + t(80 %)) x SE.",
        "second_val_top1": "Mean over the same of the second cell's val/top1.",
    },
)
def equal_settings(sources: Sources) -> pd.DataFrame:
    """Differences at equal settings, one row per scope, contrast, setting and measure; shares of 1.

    See :func:`reports.analysis.equal_settings.differences_by_setting`.
    """
    tables = [
        differences_by_setting(evaluated_cells(view), view.methods).assign(scope=view.name, scale=view.scale)
        for view in sources.evidence.views()
    ]
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
