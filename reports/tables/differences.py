"""Paired differences: task by task, of every method against plain fine-tuning, and their sources of uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.contrasts import METRIC_WORDS, OF_CARD, PLACES, Contrast, Part, id_test, pool
from reports.analysis.equal_settings import differences_by_setting, evaluated_cells
from reports.analysis.levels import LEVELS
from reports.evidence.evidence import CAR_FT, FIXED, FT, VALIDATION, WISE, WISE_CAR, ZERO_SHOT, Entry, Evidence
from reports.evidence.results import finished_trials
from reports.stats.intervals import REPLICATES, Estimate
from reports.stats.ranks import spread_of_best
from reports.tables.table import INTERVAL_FORMULAS, PAIRED, Formula, Row, TableCard, rows_of

DIFFERENCES = (
    ("CAR-FT - FT", CAR_FT, FT),
    ("FT - zero-shot", FT, ZERO_SHOT),
    ("CAR-FT - zero-shot", CAR_FT, ZERO_SHOT),
    ("WiSE(CAR-FT) - WiSE(FT)", WISE_CAR, WISE),
)


def difference_table(evidence: Evidence) -> pd.DataFrame:
    """Paired differences per task, ID and mean OOD, with intervals and the smallest visible difference.

    All are in top-1. A task whose card names another metric has one more row for the ID test, in that metric.
    """
    rows = []
    asked = [(*names, Contrast(*names[1:], "top1", sets), place) for names in DIFFERENCES for place, sets in PLACES]
    asked += [(*names, Contrast(*names[1:], OF_CARD, id_test), "ID test") for names in DIFFERENCES]
    for view in evidence.views():
        for name, first, second, contrast, place in asked:
            result = contrast.estimate(view)
            for task, (estimate, cells) in result.estimates.items():
                metric = result.metrics[task]
                if contrast.what == OF_CARD and metric == "top1":
                    continue
                low, high = estimate.interval()
                rows.append(
                    {
                        "contrast": name,
                        "where": f"{place}{METRIC_WORDS[metric]}",
                        "task": view.label(task),
                        "scope": view.name,
                        "scale": view.scale,
                        "selected_on": VALIDATION,
                        "effect": estimate.effect,
                        "low": low,
                        "high": high,
                        "smallest_visible": estimate.smallest_visible(),
                        "floor": estimate.floor(),
                        "n_seeds": estimate.n_seeds,
                        "n_groups": estimate.n_groups,
                        "first_hyperparameters": _tuned(view, task, first),
                        "second_hyperparameters": _tuned(view, task, second),
                        "cells": " ".join(cells),
                        "metric": metric,
                    }
                )
    return pd.DataFrame(rows)


DIFFERENCES_CARD = TableCard(
    "differences",
    "Paired differences",
    "In points, with the winners that the two sides were run with. “smallest visible” is the smallest true "
    "difference that would have shown in 80 % of repetitions.",
    lambda sources: difference_table(sources.evidence),
    ("contrast", "where", "task"),
    points=("effect", "low", "high"),
    shares=("smallest_visible",),
    headings={"first_hyperparameters": "first", "second_hyperparameters": "second"},
    formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
)


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


COMPARISON_COLUMNS = (
    "contrast", "where", "scope", "scale", "selected_on", "effect", "low", "high", "smallest_visible", "floor",
    "n_tasks", "n_searches", "n_seeds", "n_groups", "flaws", "cells",
)  # fmt: skip


def comparison_table(evidence: Evidence, equal: pd.DataFrame) -> pd.DataFrame:
    """One row per scope, pair of methods and place; effect, low and high are shares of 1.

    With interpolations, WiSE-FT of FT, alpha chosen on validation, is compared with FT and with CAR-FT. Where other
    methods were searched less often, further rows compare CAR-FT with FT in as many first searches, so that what the
    others are compared with can be told from what further searches changed.

    equal: the table ``equal_settings``, of which the rows of the registered contrast stand beside the tuned ones.
    flaws: evidence that is missing, and what besides the method differs between the two sides; empty for nothing.
    """
    rows = [row for view in evidence.views() for row in _comparison_rows(view)]
    rows += [_registered_row(row) for row in rows_of(equal) if row["registered"]]
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


COMPARISONS_CARD = TableCard(
    "comparisons",
    "Every method against plain fine-tuning",
    "Each trained method minus FT, and CAR-FT minus each other method: means over tasks, paired, in points. "
    "“flaws” says what is missing, or differs besides the method; such a difference decides nothing. “Equal settings” "
    "is the registered contrast of the table of that name.",
    lambda sources: comparison_table(sources.evidence, sources.table("equal_settings")),
    ("contrast", "where"),
    points=("effect", "low", "high"),
    shares=("smallest_visible",),
    formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
)


def _comparison_rows(view: Evidence) -> Iterator[dict[str, Any]]:
    others = [Entry(name) for name in view.trained_methods if _has(view, Entry(name))]
    pairs = [(entry, FT) for entry in others if entry != FT]
    pairs += [(CAR_FT, entry) for entry in others if entry not in (FT, CAR_FT)]
    asked = [(_contrast_name(view, first, second), view, first, second) for first, second in pairs]
    asked += [(f"WiSE(FT) - {view.methods[e.method].label}", view, WISE, e) for e in (FT, CAR_FT) if _has(view, WISE)]
    asked += [
        (f"{_contrast_name(view, CAR_FT, FT)}, {words}", fewer, CAR_FT, FT) for words, fewer in _fewer_searches(view)
    ]
    for name, part_of_view, first, second in asked:
        for where, (metric, sets) in LEVELS.items():
            part = pool(part_of_view, Contrast(first, second, metric, sets), name)
            if part is not None and part.tasks:
                yield _comparison_row(view, part, where)


def _has(view: Evidence, entry: Entry) -> bool:
    return any(view.cells(task, entry) for task in view.tasks)


def _contrast_name(view: Evidence, first: Entry, second: Entry) -> str:
    return f"{view.methods[first.method].label} - {view.methods[second.method].label}"


def _fewer_searches(view: Evidence) -> Iterator[tuple[str, Evidence]]:
    """(words, the view with so many first searches) for each smaller number of searches that another method has."""
    sides = (CAR_FT.method, FT.method)
    counts = view.searches_of(view.trained_methods)
    both = min(counts.get(name, 0) for name in sides)
    for count in sorted({count for count in counts.values() if count < both}):
        words = "first search" if count == 1 else f"first {count} searches"
        yield words, view.with_searches(range(1, count + 1), sides)


def _comparison_row(view: Evidence, part: Part, where: str) -> dict[str, Any]:
    estimate = part.estimate
    values = (
        part.name, where, view.name, view.scale, VALIDATION, estimate.effect, *estimate.interval(),
        estimate.smallest_visible(), estimate.floor(), len(part.tasks), estimate.n_searches, estimate.n_seeds,
        estimate.n_groups, "; ".join((*part.flaws, *part.unequal)), " ".join(part.cells),
    )  # fmt: skip
    return dict(zip(COMPARISON_COLUMNS, values, strict=True))


def _registered_row(row: Row) -> dict[str, Any]:
    """A row of the table ``equal_settings`` as one of this table."""
    flaws = (
        f"lr {row['lr']:g}, KL weight {row['kl_weight']:g}; t interval over {row['interval_over']}; decides no claim"
    )
    changed = {"contrast": f"{row['contrast']}, equal settings", "selected_on": FIXED, "floor": row["interval_over"]}
    values = {**row, **changed, "n_groups": "", "flaws": flaws}
    return {name: values[name] for name in COMPARISON_COLUMNS}


def equal_settings_table(evidence: Evidence) -> pd.DataFrame:
    """Differences at equal settings, one row per scope, contrast, setting and measure; shares of 1.

    See :func:`reports.analysis.equal_settings.differences_by_setting`.
    """
    tables = [
        differences_by_setting(evaluated_cells(view), view.methods).assign(scope=view.name, scale=view.scale)
        for view in evidence.views()
    ]
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


EQUAL_INTERVAL = Formula(
    "Effect -/+ t x SE over what “interval over” names, after the mean over seeds and searches. The bands of all "
    "points of a contrast and measure hold together: t at 1 - 2.5 % / points (Bonferroni)."
)
EQUAL_SETTINGS_CARD = TableCard(
    "equal_settings",
    "All else equal",
    "Pairs of cells that differ in the method alone: same task, seed, data, weights, recipe and shared "
    "hyperparameters. Any evaluated cells count: of searches, confirm cells, and cells of a grid such as the recipe "
    "“dose”. In points. This is about mechanism and decides no claim. “registered” marks CAR-FT minus FT at KL weight "
    "1 and the learning rate with FT's best validation accuracy. A setting with one task, search or seed has no row.",
    lambda sources: equal_settings_table(sources.evidence),
    ("contrast", "where", "lr", "kl_weight", "others", "recipe"),
    points=("effect", "low", "high", "band_*"),
    shares=("second_val_top1", "smallest_visible"),
    formulas={
        "effect": Formula("Mean over tasks of first minus second, over seeds and then searches of a task before."),
        "low": EQUAL_INTERVAL,
        "high": EQUAL_INTERVAL,
        "band_*": EQUAL_INTERVAL,
        "smallest_visible": Formula("(t(97.5 %) + t(80 %)) x SE."),
        "second_val_top1": Formula("Mean over the same of the second cell's val/top1."),
    },
)


UNCERTAINTY_COLUMNS = (
    "contrast", "where", "task", "scope", "scale", "effect", "se_groups", "se_seeds", "se_hyperparameters", "trials",
    "half_width", "half_width_plain", "half_width_with_search", "n_seeds", "n_groups", "selected_on", "cells",
)  # fmt: skip


def uncertainty_table(evidence: Evidence) -> pd.DataFrame:
    """Standard errors of each paired difference by source, per task and for the mean over tasks; shares of 1.

    se_hyperparameters is the standard deviation of the best of as many trials, drawn with replacement from the trials
    that were run, of both sides together. It is measured on validation accuracy, since test accuracies of search cells
    are sealed, and it is in no interval. half_width_with_search is the 95 % half-width with it added in squares. With
    several searches the interval holds it already, and se_seeds is that of searches and seeds together.
    half_width_plain is computed from the raw sum with Satterthwaite's t.
    """
    rows = []
    for view in evidence.views():
        for name, first, second in DIFFERENCES:
            for where, sets in PLACES:
                result = Contrast(first, second, "top1", sets).estimate(view)
                spreads = {task: _search_spread(view, task, (first, second)) for task in result.estimates}
                for task, (estimate, cells) in result.estimates.items():
                    trials = sum(view.ended_by_search(task, first.parent or first.method))
                    rows.append(
                        _uncertainty_row(view, name, where, view.label(task), estimate, spreads[task], trials, cells)
                    )
                if len(spreads) > 1:
                    mean = math.sqrt(sum(value**2 for value in spreads.values())) / len(spreads)
                    rows.append(
                        _uncertainty_row(view, name, where, "mean of tasks", result.pooled(), mean, "", result.cells)
                    )
    return pd.DataFrame(rows, columns=list(UNCERTAINTY_COLUMNS))


UNCERTAINTY_CARD = TableCard(
    "uncertainty",
    "Where the uncertainty comes from",
    "Standard errors by source, in points. Groups and seeds make the intervals; the draw of hyperparameters is "
    "estimated on validation and is in no interval; of several searches, it is in the term of seeds.",
    lambda sources: uncertainty_table(sources.evidence),
    ("scope", "contrast", "where", "task"),
    points=("effect",),
    shares=("se_*", "half_width*"),
)


def _uncertainty_row(
    view: Evidence,
    name: str,
    where: str,
    task: str,
    estimate: Estimate,
    spread: float,
    trials: object,
    cells: Sequence[str],
) -> dict[str, Any]:
    low, high = estimate.interval()
    plain = estimate.plain().interval()
    half, left_out = (high - low) / 2, 0.0 if estimate.n_searches > 1 else spread
    values = (
        name, where, task, view.name, view.scale, estimate.effect, estimate.share("groups"),
        math.hypot(*(estimate.share(source) for source in REPLICATES)),
        spread, trials, half, (plain[1] - plain[0]) / 2, math.hypot(half, 1.96 * left_out), estimate.n_seeds,
        estimate.n_groups, VALIDATION, " ".join(cells),
    )  # fmt: skip
    return dict(zip(UNCERTAINTY_COLUMNS, values, strict=True))


def _search_spread(view: Evidence, task: str, sides: Sequence[Entry]) -> float:
    """Standard deviation of a difference of winners over repeated searches; an untrained side adds nothing."""
    spreads = []
    for side in sides:
        searches = [finished_trials(s, view.records) for s in view.searches(task, side.parent or side.method)]
        scores = [[view.records[t.cell].metrics["val/top1"] for t in trials] for trials in searches if trials]
        spreads += [spread_of_best(values) / len(scores) for values in scores]  # the mean over independent searches
    return float(np.sqrt(np.sum(np.square(spreads))))
