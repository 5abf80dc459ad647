"""Paired differences: task by task, of every method against plain fine-tuning, and at equal settings."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product

import pandas as pd

from reports.judge.contrasts.contrast import OF_CARD, PLACES, Contrast, pool
from reports.judge.entry import CAR_FT, FT, WISE, WISE_CAR, ZERO_SHOT, Entry
from reports.judge.evidence import FIXED, VALIDATION, Evidence
from reports.judge.findings import Findings
from reports.judge.levels import LEVELS
from reports.judge.part import METRIC_WORDS
from reports.render.tables.table import (
    DIFFERENCE,
    Column,
    TableRow,
    numbers_of,
    points,
    rows_of,
    scope_table,
    share,
    table,
)

DIFFERENCES = (
    ("CAR-FT - FT", CAR_FT, FT),
    ("FT - zero-shot", FT, ZERO_SHOT),
    ("CAR-FT - zero-shot", CAR_FT, ZERO_SHOT),
    ("WiSE(CAR-FT) - WiSE(FT)", WISE_CAR, WISE),
)
#: the numbers of an effect
EFFECT = ("effect", "low", "high", "smallest_visible", "floor")
COUNTS = ("n_tasks", "n_searches", "n_seeds", "n_groups")


@scope_table(
    "Paired differences",
    "In points, with the winners that the two sides were run with. “smallest visible” is the smallest true "
    "difference that would have shown in 80 % of repetitions.",
    ["contrast", "where", "task"],
    columns={
        **DIFFERENCE,
        "first_hyperparameters": Column(heading="first"),
        "second_hyperparameters": Column(heading="second"),
    },
)
def differences(view: Evidence) -> Iterator[TableRow]:
    """Paired differences per task, ID and mean OOD, with intervals and the smallest visible difference.

    All are in top-1. A task whose card names another metric has one more row for the ID test, in that metric.
    """
    asked = [*product(DIFFERENCES, PLACES, ["top1"]), *product(DIFFERENCES, PLACES[:1], [OF_CARD])]
    for (name, first, second), (place, sets), what in asked:
        result = Contrast(first, second, what, sets).estimate(view)
        for task, (estimate, cells) in result.estimates.items():
            metric = result.metrics[task]
            if (what, metric) != (OF_CARD, "top1"):
                yield {
                    "contrast": name,
                    "where": f"{place}{METRIC_WORDS[metric]}",
                    "task": task,
                    "selected_on": VALIDATION,
                    **numbers_of(estimate, *EFFECT, "n_seeds", "n_groups"),
                    "first_hyperparameters": _tuned(view, task, first),
                    "second_hyperparameters": _tuned(view, task, second),
                    "cells": " ".join(cells),
                    "metric": metric,
                }


def _tuned(evidence: Evidence, task: str, entry: Entry) -> str:
    """The winning hyperparameters of an entry as text; of several searches the range."""
    cells = evidence.cells(task, Entry(entry.searched))
    values: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        for name, value in evidence.records[cell].cell.hyperparameters.items():
            values[name].append(value)
    words = []
    for name, each in values.items():
        ends = dict.fromkeys((f"{min(each):.2g}", f"{max(each):.2g}"))  # one end where both are alike
        words.append(f"{name.replace('_', ' ')} {' to '.join(ends)}")
    return ", ".join(words) or "-"


@table(
    "Every method against plain fine-tuning",
    "Each trained method minus FT, and CAR-FT minus each other method: means over tasks, paired, in points. "
    "“flaws” says what is missing, or differs besides the method; such a difference decides nothing. “Equal settings” "
    "is the registered contrast of the table of that name.",
    ["contrast", "where"],
    columns=DIFFERENCE,
)
def comparisons(findings: Findings) -> Iterator[TableRow]:
    """One row per scope, pair of methods and place; effect, low and high are shares of 1.

    With interpolations, WiSE-FT of FT, alpha chosen on validation, is compared with FT and with CAR-FT. Where other
    methods were searched less often, further rows compare CAR-FT with FT in as many first searches. The registered
    contrast of the table ``equal_settings`` stands beside the tuned ones.
    """
    for scope in findings.evidence.views():
        for (name, view, first, second), (where, (metric, sets)) in product(_compared(scope), LEVELS.items()):
            part = pool(view, Contrast(first, second, metric, sets), name)
            if part is not None and part.tasks:
                yield {
                    "contrast": name,
                    "where": where,
                    **scope.columns,
                    "selected_on": VALIDATION,
                    **numbers_of(part, *EFFECT, *COUNTS),
                    "flaws": part.doubts,
                    "cells": " ".join(part.cells),
                }
    equal = findings.equal_settings
    for row in rows_of(equal[equal["registered"].astype(bool)]):
        row |= {"contrast": f"{row['contrast']}, equal settings", "selected_on": FIXED, "floor": row["interval_over"]}
        setting = f"lr {row['lr']:g}, KL weight {row['kl_weight']:g}"
        row |= {"n_groups": "", "flaws": f"{setting}; t interval over {row['interval_over']}; decides no claim"}
        kept = ("contrast", "where", "scope", "scale", "selected_on", *EFFECT, *COUNTS, "flaws", "cells")
        yield {name: row[name] for name in kept}


def _compared(view: Evidence) -> Iterator[tuple[str, Evidence, Entry, Entry]]:
    """Every comparison in a scope: name, the scope or fewer searches of it, first and second entry."""
    labels = {Entry(name): view.methods[name].label for name in view.trained_methods}
    others = [entry for entry in labels if entry != FT and _has(view, entry)]
    for entry in others:
        yield f"{labels[entry]} - {labels[FT]}", view, entry, FT
    for entry in others:
        if entry != CAR_FT:
            yield f"{labels[CAR_FT]} - {labels[entry]}", view, CAR_FT, entry
    if _has(view, WISE):
        for entry in (FT, CAR_FT):
            yield f"WiSE(FT) - {labels[entry]}", view, WISE, entry
    counts = view.searches_of(view.trained_methods)
    both = min(counts.get(CAR_FT.method, 0), counts.get(FT.method, 0))
    for count in sorted(set(counts.values())):
        if count < both:
            fewer = view.with_searches(range(1, count + 1), (CAR_FT.method, FT.method))
            first = "first search" if count == 1 else f"first {count} searches"
            yield f"{labels[CAR_FT]} - {labels[FT]}, {first}", fewer, CAR_FT, FT


def _has(view: Evidence, entry: Entry) -> bool:
    return any(view.cells(task, entry) for task in view.tasks)


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
    columns={
        "effect": points(
            formula="Mean over tasks of first minus second, over seeds and then searches of a task before."
        ),
        "*low": points(formula=EQUAL_INTERVAL),
        "*high": points(formula=EQUAL_INTERVAL),
        "smallest_visible": share(formula="(t(97.5 %) + t(80 %)) x SE."),
        "second_val_top1": share(formula="Mean over the same of the second cell's val/top1."),
    },
)
def equal_settings(findings: Findings) -> pd.DataFrame:
    """Differences at equal settings, one row per scope, contrast, setting and measure; shares of 1."""
    return findings.equal_settings
