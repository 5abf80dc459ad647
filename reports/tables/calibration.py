"""Calibration: the expected calibration error and the loss, in and out of distribution."""

from typing import Any

import pandas as pd

from reports.analysis.calibration_error import BINS
from reports.analysis.contrasts import PLACES, Sets
from reports.analysis.forgetting import POSITIVE
from reports.analysis.levels import levels_by_task
from reports.evidence.evidence import Entry, Evidence
from reports.stats.intervals import pooled
from reports.tables.table import INTERVAL, Sources, table

KEPT, NOT_KEPT = "kept", "not kept"


@table(
    "Calibration",
    "How far confidence lies from accuracy (expected calibration error, in %), and the loss (negative log likelihood, "
    "in nats), means over tasks with 95 % intervals. Both take logits, which cells of compact archives have not kept.",
    ["place", "method"],
    shares=("error", "low", "high"),
    headings={"low": "error from", "high": "error to", "loss_low": "loss from", "loss_high": "loss to"},
    formulas={
        "error": f"{BINS} bins of equal numbers of images, by confidence: mean over images of confidence minus hit, "
        "with the sign of the mean of the bin's other groups (debiased: 0 is expected of a calibrated model, and a "
        "value below 0 is noise; small sets understate a small error); then over seeds, sets and tasks.",
        "loss": "Mean over images, seeds, sets and tasks of minus the logarithm of the true class's probability.",
        **dict.fromkeys(("low", "high", "loss_low", "loss_high"), INTERVAL),
    },
)
def calibration(sources: Sources) -> pd.DataFrame:
    """One row per scope, place and method: the mean over its tasks of the calibration error and the loss.

    error, low and high are shares of 1, loss in nats; NaN where the logits of a cell are not kept (column logits).
    """
    rows: list[dict[str, Any]] = []
    for view in sources.evidence.views():
        for place, sets in PLACES:
            for entry in (*view.entries(), POSITIVE):
                tasks = [task for task in view.tasks if view.cells(task, entry) and sets(view, task)]
                if tasks:
                    row = {**view.columns, "place": place, "method": entry.label, "n_tasks": len(tasks)}
                    rows.append(row | _numbers(view, entry, sets, tasks))
    return pd.DataFrame(rows)


def _numbers(view: Evidence, entry: Entry, sets: Sets, tasks: list[str]) -> dict[str, Any]:
    """The other columns of a row. No number where one of the tasks has none."""
    numbers: dict[str, Any] = dict.fromkeys(("error", "low", "high", "loss", "loss_low", "loss_high"))
    numbers |= {"n_seeds": None, "n_groups": None, "logits": NOT_KEPT}
    errors = levels_by_task(view, entry, "calibration", sets)
    if set(tasks) <= set(errors):
        error = pooled([errors[task][0] for task in tasks])
        losses = levels_by_task(view, entry, "loss", sets)
        loss = pooled([losses[task][0] for task in tasks])
        numbers |= {"error": error.effect, "loss": loss.effect, "logits": KEPT}
        numbers |= {"n_seeds": error.n_seeds, "n_groups": error.n_groups}
        numbers["low"], numbers["high"] = error.interval()
        numbers["loss_low"], numbers["loss_high"] = loss.interval()
    cells: list[str] = []
    for task in tasks:
        cells += view.cells(task, entry)
    return numbers | {"cells": " ".join(cells)}
