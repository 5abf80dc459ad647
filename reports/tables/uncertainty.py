"""The three sources of uncertainty, kept apart: groups, seeds, and the draw of hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from carft.store.study import StudyFile
from reports.analysis.contrasts import PLACES, Contrast
from reports.evidence.evidence import VALIDATION, Entry, Evidence
from reports.evidence.results import finished_trials
from reports.stats.intervals import REPLICATES, Estimate
from reports.stats.ranks import spread_of_best
from reports.tables.differences import DIFFERENCES

COLUMNS = (
    "contrast", "where", "task", "scope", "scale", "effect", "se_groups", "se_seeds", "se_hyperparameters", "trials",
    "half_width", "half_width_plain", "half_width_with_search", "n_seeds", "n_groups", "selected_on",
)  # fmt: skip


def uncertainty_table(evidence: Evidence) -> pd.DataFrame:
    """Standard errors of each paired difference by source, per task and for the mean over tasks; shares of 1.

    se_hyperparameters: the spread that another search of the same size would bring, from the trials that were run:
    the standard deviation of the best of as many trials drawn with replacement, both sides together. It is measured on
    validation accuracy (test accuracies of search cells are sealed) and is in no interval; half_width_with_search is
    the 95 % half-width with it added in squares, unless several searches put it into the interval already; se_seeds is
    then that of searches and seeds together. half_width_plain: by the raw sum and Satterthwaite's t.
    """
    rows = []
    for view in evidence.views():
        for name, first, second in DIFFERENCES:
            for where, sets in PLACES:
                found = Contrast(first, second, "top1", sets).found(view).estimates
                luck = {task: _luck(view, task, (first, second)) for task in found}
                for task, (estimate, _) in found.items():
                    rows.append(_row(view, name, where, task, estimate, luck[task], _trials(view, task, first)))
                if len(found) > 1:
                    pooled = Contrast(first, second, "top1", sets).found(view).pooled()
                    mean = math.sqrt(sum(value**2 for value in luck.values())) / len(luck)
                    rows.append(_row(view, name, where, "mean of tasks", pooled, mean, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    view: Evidence, name: str, where: str, task: str, estimate: Estimate, luck: float, trials: object
) -> dict[str, Any]:
    low, high = estimate.interval()
    plain = estimate.plain().interval()
    half, left_out = (high - low) / 2, 0.0 if estimate.n_searches > 1 else luck
    values = (
        name, where, task, view.name, view.scale, estimate.effect, estimate.share("groups"),
        math.hypot(*(estimate.share(source) for source in REPLICATES)),
        luck, trials, half, (plain[1] - plain[0]) / 2, math.hypot(half, 1.96 * left_out), estimate.n_seeds,
        estimate.n_groups, VALIDATION,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _luck(view: Evidence, task: str, sides: Sequence[Entry]) -> float:
    """Standard deviation of a difference of winners over repeated searches; the untrained side has none."""
    spreads = []
    for side in sides:
        found = [values for study in view.searches(task, side.parent or side.method) if (values := _seen(view, study))]
        spreads += [spread_of_best(values) / len(found) for values in found]  # the mean over independent searches
    return float(np.sqrt(np.sum(np.square(spreads))))


def _seen(view: Evidence, study: StudyFile) -> list[float]:
    """Validation accuracies of the finished trials of a study."""
    return [view.records[t.cell].metrics["val/top1"] for t in finished_trials(study, view.records)]


def _trials(view: Evidence, task: str, side: Entry) -> int:
    return view.ended_trials(task, side.parent or side.method)
