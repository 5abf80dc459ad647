"""Robustness: effective robustness, worst shift, worst class, calibration error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from carft.core.metrics import calibration_bins, calibration_error
from carft.spec.cell import Reading, task_key
from carft.spec.weights import display_form
from reports.evidence.evidence import Entry, Evidence
from reports.tables.table import TableCard

FEWEST_POINTS = 3  # from which the line is fitted; below, its slope is assumed


CLIP = 1e-3  # accuracies are clipped to [CLIP, 1 - CLIP] before the logit


@dataclass(frozen=True)
class Baseline:
    """OOD accuracy as a line in ID accuracy, both on logit axes: logit(ood) = intercept + slope * logit(id)."""

    slope: float
    """Fitted; 1, which is assumed, with fewer than three points."""
    intercept: float
    points: int
    """Number of (task, model) pairs of untrained models."""
    r_squared: float
    """NaN where the slope is assumed."""

    def expected(self, id_accuracy: float) -> float:
        """OOD accuracy that the baseline expects at an ID accuracy; NaN without a line or an ID accuracy."""
        return float(special.expit(self.intercept + self.slope * _logit(id_accuracy)))


NO_LINE = Baseline(np.nan, np.nan, 0, np.nan)


def _logit(share: Any) -> Any:
    return special.logit(np.clip(share, CLIP, 1 - CLIP))


def fit(id_accuracies: Sequence[float], ood_accuracies: Sequence[float]) -> Baseline:
    """Least squares on logit axes; slope 1 through the mean for fewer than three points or one ID accuracy."""
    x, y = _logit(np.asarray(id_accuracies)), _logit(np.asarray(ood_accuracies))
    if len(x) < FEWEST_POINTS or np.ptp(x) == 0:
        return Baseline(1.0, float(np.mean(y - x)), len(x), float("nan"))
    line = stats.linregress(x, y)
    return Baseline(float(line.slope), float(line.intercept), len(x), float(line.rvalue**2))


def baseline_points(view: Evidence) -> pd.DataFrame:
    """(task, model, pretrained, id, ood, cell) of every zero-shot cell of the view's tasks and data, of any model.

    Under the default reading; tasks without a test set or suites have none.
    """
    rows = []
    stale = view.scope.stale if view.scope else ""
    for task in view.tasks:
        for record in view.archive.untrained.get((task_key(task), "zeroshot"), []):
            cell = record.cell
            fits = cell.reading == Reading() and cell.data_version == (stale or view.card(task).version)
            if fits and view.archive.is_open(record.id, task, view.set_names(task)):
                metrics = view.metrics(record.id)
                if {"test/top1", "ood/mean/top1"} <= metrics.keys():
                    accuracies = metrics["test/top1"], metrics["ood/mean/top1"]
                    start = display_form(cell.model, cell.pretrained)
                    rows.append((view.label(task), *start, *accuracies, record.id))
    return pd.DataFrame(rows, columns=["task", "model", "pretrained", "id", "ood", "cell"])


def robustness_table(evidence: Evidence) -> pd.DataFrame:
    """One row per scope, task and entry, means over confirm seeds.

    effective: mean OOD top-1 minus what the baseline line expects at this ID top-1. worst_shift: lowest top-1 of the
    suites, and its name. worst_class, worst_class_ood: lowest top-1 of a class on the test set, and over all suites
    together, with the images of that class. ece_id, ece_ood: expected calibration error, 15 bins of equal width.
    """
    rows = []
    for view in evidence.views():
        points = baseline_points(view)
        line = fit(points["id"].tolist(), points["ood"].tolist()) if len(points) else NO_LINE
        for task in view.tasks:
            for entry in view.entries():
                if cells := view.cells(task, entry):
                    rows.append(_row(view, task, entry, cells, line))
    return pd.DataFrame(rows)


ROBUSTNESS_CARD = TableCard(
    "robustness",
    "Robustness",
    "Effective robustness (distance from the baseline line), worst shift, worst class, calibration error "
    "(15 bins of equal width), in %; n as stated.",
    lambda sources: robustness_table(sources.evidence),
    ("scope", "task", "method"),
    shares=("id", "ood", "expected_ood", "worst_shift", "worst_class", "worst_class_ood", "ece_*"),
    points=("effective",),
)


def _row(view: Evidence, task: str, entry: Entry, cells: Sequence[str], line: Baseline) -> dict[str, Any]:
    per_cell = [view.metrics(cell) for cell in cells]
    metrics = {name: float(np.mean([m.get(name, np.nan) for m in per_cell])) for name in per_cell[0]}
    suites = {name: metrics.get(f"{name}/top1", np.nan) for name in view.suites(task)}
    worst = min(suites, key=lambda name: suites[name], default="")
    id_accuracy, ood = metrics.get("test/top1", np.nan), metrics.get("ood/mean/top1", np.nan)
    expected = line.expected(id_accuracy)
    groups = [view.outcome(cells[0], name).frame for name in view.set_names(task)]
    classes = view.card(task).classes
    test = [name for name in view.set_names(task) if name == "test"]
    return {
        "scope": view.name,
        "scale": view.scale,
        "task": view.label(task),
        "method": entry.label,
        "selected_on": view.selected_on(entry),
        "n_seeds": len(cells),
        "n_groups": len({name for frame in groups for name in frame.group_names.tolist()}),
        "n_images": sum(len(frame.labels) for frame in groups),
        "id": id_accuracy,
        "ood": ood,
        "expected_ood": expected,
        "effective": ood - expected,
        "line_slope": line.slope,
        "line_intercept": line.intercept,
        "line_points": line.points,
        "worst_shift": suites.get(worst, np.nan),
        "worst_shift_name": worst.removeprefix("ood/"),
        **_worst_class(view, cells, test, classes, ""),
        **_worst_class(view, cells, view.suites(task), classes, "_ood"),
        "ece_id": _ece(view, cells, test),
        "ece_ood": _ece(view, cells, view.suites(task)),
        "cells": " ".join(cells),
    }


def _worst_class(
    view: Evidence, cells: Sequence[str], names: Sequence[str], classes: Sequence[str], suffix: str
) -> Mapping[str, Any]:
    """The class with the lowest accuracy over these sets, mean over seeds, and how many images it has."""
    columns = (f"worst_class{suffix}", f"worst_class{suffix}_name", f"worst_class{suffix}_images")
    right, images = np.zeros(len(classes)), np.zeros(len(classes))
    for name in names:
        for cell in cells:
            outcome = view.outcome(cell, name)
            right += np.bincount(outcome.frame.labels, outcome.hits, minlength=len(classes)) / len(cells)
        images += np.bincount(outcome.frame.labels, minlength=len(classes))
    if not images.any():
        return dict(zip(columns, (np.nan, "", 0), strict=True))
    share = np.divide(right, images, out=np.full(len(classes), np.inf), where=images > 0)
    k = int(np.argmin(share))
    return dict(zip(columns, (float(share[k]), classes[k], int(images[k])), strict=True))


def _ece(view: Evidence, cells: Sequence[str], names: Sequence[str]) -> float:
    """Mean over seeds of the calibration error on all images of these sets together; NaN without sets."""
    if not names:
        return float("nan")
    errors = []
    for cell in cells:
        outcomes = [view.outcome(cell, name) for name in names]
        binned = np.sum([calibration_bins(o.confidence, o.hits) for o in outcomes], axis=0)
        errors.append(calibration_error(binned))
    return float(np.mean(errors))


def baseline_table(evidence: Evidence) -> pd.DataFrame:
    """The baseline of effective robustness per scope: points and line."""
    frames = []
    for view in evidence.views():
        points = baseline_points(view)
        if len(points):
            line = fit(points["id"].tolist(), points["ood"].tolist())
            how = "fitted" if line.points >= FEWEST_POINTS else "slope 1, assumed"
            facts = {"scope": view.name, "scale": view.scale, **asdict(line), "how": how}
            frames.append(points.assign(**facts))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


BASELINE_CARD = TableCard(
    "baseline",
    "The baseline of effective robustness",
    "Untrained models, and the line through them on logit axes.",
    lambda sources: baseline_table(sources.evidence),
    ("scope", "task", "model", "pretrained"),
    shares=("id", "ood"),
    hidden=("cell",),
)
