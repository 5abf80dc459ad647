"""The table of the experiment at equal strength."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from reports.analysis.matched_strength import (
    LARGEST_RATIO,
    MARGIN,
    PRIMARY_MEASURE,
    MatchedContrast,
    MatchedStrength,
    ReachedStrength,
)
from reports.stats.intervals import Estimate
from reports.tables.table import INTERVAL, Sources, table
from reports.words.strength_words import ANSWERS

#: column of a measure
COLUMN = {"ID test": "id", "mean OOD": "ood", "contexts of the suites": "contexts"}
COLUMNS = (
    "what", "strength", "kl_weight", "temperature", "displacement", "displacement_low", "displacement_high",
    "displacement_excess", "id", "ood", "contexts", "id_difference", "ood_difference", "contexts_difference",
    "ood_low", "ood_high", "answer", "primary", "n_tasks", "n_seeds", "cells",
)  # fmt: skip


@table(
    "Equal strength",
    "The experiment of the recipe `strength`: a KL term with contexts and with what may stand in their place, at KL "
    "weights at which they move the features equally far. Of an arm: what it reaches, and its differences to FT. Of "
    "a contrast: first minus second, with the answer out of distribution; the registered one is marked, the other "
    "is at equal entropy. It is not comparable where an arm does not reach a strength, or displacements differ by "
    f"more than {100 * (LARGEST_RATIO - 1):.0f} %. It decides no claim.",
    ["what", "strength"],
    shares=("displacement_excess", "id", "ood", "contexts"),
    points=("*_difference", "ood_low", "ood_high"),
    formulas={
        "displacement": "train/displacement of the cells, mean over tasks and seeds; of a contrast the larger mean "
        "over the smaller.",
        "displacement_low": "The smallest of a task and seed.",
        "displacement_high": "The largest of a task and seed.",
        "displacement_excess": "Of a contrast: the displacement of the first over that of the second, minus 1, mean "
        "over strengths.",
        "*_difference": "Mean over seeds and tasks of the difference, paired by seed and image; of several strengths "
        "their mean.",
        "ood_low": INTERVAL + " Of a mean over tasks a seed takes the place of a search.",
        "ood_high": INTERVAL + " Of a mean over tasks a seed takes the place of a search.",
        "answer": f"By the interval out of distribution, 0 and the margin of {100 * MARGIN:g} points.",
    },
    metrics={"id": "test/top1", "ood": "ood/mean/top1", "contexts": "ood/context_top1"},
)
def matched_strength(sources: Sources) -> pd.DataFrame:
    """One row per scope, arm and strength, then one per strength of a contrast, and their mean."""
    rows = []
    for view in sources.evidence.views():
        found = MatchedStrength.of(view)
        if found is not None:
            for row in _rows(found):
                rows.append({**view.columns, **row})
    if not rows:
        return pd.DataFrame(columns=["scope", "scale", *COLUMNS])
    return pd.DataFrame(rows)


def _rows(found: MatchedStrength) -> Iterator[Mapping[str, Any]]:
    for strength in found.strengths():
        yield dict.fromkeys(COLUMNS, "") | _strength_row(strength)
    for contrast in found.contrasts():
        yield dict.fromkeys(COLUMNS, "") | _contrast_row(contrast)


def _strength_row(strength: ReachedStrength) -> dict[str, Any]:
    reached = strength.displacements
    return {
        "what": strength.arm.name,
        "strength": f"{strength.target:g}",
        "kl_weight": strength.kl_weight,
        "temperature": strength.arm.temperature,
        "displacement": strength.displacement,
        "displacement_low": min(reached, default=math.nan),
        "displacement_high": max(reached, default=math.nan),
        **_by_column(strength.levels),
        **_differences(strength.over_ft),
        "answer": "not reached" if math.isnan(strength.kl_weight) else "",
        "n_tasks": len(strength.tasks),
        "n_seeds": strength.seeds,
        "cells": " ".join(strength.cells),
    }


def _by_column(levels: Mapping[str, float]) -> dict[str, float]:
    """Column -> level."""
    return {COLUMN[measure]: level for measure, level in levels.items()}


def _contrast_row(contrast: MatchedContrast) -> dict[str, Any]:
    return {
        "what": " - ".join(contrast.sides),
        "strength": "mean" if contrast.target is None else f"{contrast.target:g}",
        "displacement": contrast.ratio,
        "displacement_excess": contrast.excess,
        **_differences(contrast.estimates),
        "answer": ANSWERS[contrast.answer],
        "primary": "yes" if contrast.is_registered and contrast.target is None else "",
        "n_tasks": len(contrast.tasks),
        "n_seeds": contrast.seeds,
        "cells": " ".join(contrast.cells),
    }


def _differences(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """The differences in every measure, and the interval of that out of distribution."""
    row: dict[str, Any] = {}
    for measure, column in COLUMN.items():
        row[f"{column}_difference"] = estimates[measure].effect if measure in estimates else math.nan
    row |= {"ood_low": math.nan, "ood_high": math.nan}
    if PRIMARY_MEASURE in estimates:
        row["ood_low"], row["ood_high"] = estimates[PRIMARY_MEASURE].interval()
    return row
