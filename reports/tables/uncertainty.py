"""Standard errors by source: groups, seeds, and the draw of hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.contrasts import PLACES, Contrast
from reports.evidence.evidence import VALIDATION, Entry, Evidence
from reports.evidence.results import finished_trials
from reports.stats.intervals import REPLICATES, Estimate
from reports.stats.ranks import spread_of_best
from reports.tables.differences import DIFFERENCES

COLUMNS = (
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
                found = Contrast(first, second, "top1", sets).found(view)
                spreads = {task: _search_spread(view, task, (first, second)) for task in found.estimates}
                for task, (estimate, cells) in found.estimates.items():
                    trials = view.ended_trials(task, first.parent or first.method)
                    rows.append(_row(view, name, where, view.label(task), estimate, spreads[task], trials, cells))
                if len(spreads) > 1:
                    mean = math.sqrt(sum(value**2 for value in spreads.values())) / len(spreads)
                    rows.append(_row(view, name, where, "mean of tasks", found.pooled(), mean, "", found.cells))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
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
    return dict(zip(COLUMNS, values, strict=True))


def _search_spread(view: Evidence, task: str, sides: Sequence[Entry]) -> float:
    """Standard deviation of a difference of winners over repeated searches; an untrained side adds nothing."""
    spreads = []
    for side in sides:
        searches = [finished_trials(s, view.records) for s in view.searches(task, side.parent or side.method)]
        found = [[view.records[t.cell].metrics["val/top1"] for t in trials] for trials in searches if trials]
        spreads += [spread_of_best(values) / len(found) for values in found]  # the mean over independent searches
    return float(np.sqrt(np.sum(np.square(spreads))))
