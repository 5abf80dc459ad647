"""Paired differences: task by task, of every method against plain fine-tuning, and at equal settings."""

from collections import defaultdict
from collections.abc import Iterator

import pandas as pd

from reports.judge.entry import Entry
from reports.judge.evidence import FIXED, VALIDATION, Evidence
from reports.judge.findings import Findings, ScopeFindings
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
def differences(found: ScopeFindings) -> Iterator[TableRow]:
    """Paired differences per task, ID and mean OOD, with intervals and the smallest visible difference.

    All are in top-1. A task whose card names another metric has one more row for the ID test, in that metric.
    """
    for one in found.differences:
        yield {
            "contrast": one.name,
            "where": one.where,
            "task": one.task,
            "selected_on": VALIDATION,
            **numbers_of(one.estimate, *EFFECT, "n_seeds", "n_groups"),
            "first_hyperparameters": _tuned(found.view, one.task, one.first),
            "second_hyperparameters": _tuned(found.view, one.task, one.second),
            "cells": " ".join(one.cells),
            "metric": one.metric,
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

    The registered contrast of the table ``equal_settings`` stands beside the tuned ones.
    """
    for scope in findings.scopes:
        for one in scope.comparisons:
            yield {
                "contrast": one.part.sides,
                "where": one.where,
                **scope.view.columns,
                "selected_on": VALIDATION,
                **numbers_of(one.part, *EFFECT, *COUNTS),
                "flaws": one.part.doubts,
                "cells": " ".join(one.part.cells),
            }
    equal = findings.equal_settings
    for row in rows_of(equal[equal["registered"].astype(bool)]):
        row |= {"contrast": f"{row['contrast']}, equal settings", "selected_on": FIXED, "floor": row["interval_over"]}
        setting = f"lr {row['lr']:g}, KL weight {row['kl_weight']:g}"
        row |= {"n_groups": "", "flaws": f"{setting}; t interval over {row['interval_over']}; decides no claim"}
        kept = ("contrast", "where", "scope", "scale", "selected_on", *EFFECT, *COUNTS, "flaws", "cells")
        yield {name: row[name] for name in kept}


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
