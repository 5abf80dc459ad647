"""Robustness: worst shift, worst class, calibration error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from carft.core.metrics import calibration_bins, calibration_error
from reports.evidence.evidence import Evidence
from reports.evidence.outcomes import SetOutcome
from reports.tables.table import Sources, mean_of, table


@table(
    "Robustness",
    "Worst shift, worst class, calibration error (15 bins of equal width), in %; n as stated.",
    ["scope", "task", "method"],
    shares=("id", "ood", "worst_shift", "worst_class", "worst_class_ood", "ece_*"),
)
def robustness(sources: Sources) -> pd.DataFrame:
    """One row per scope, task and entry, means over confirm seeds.

    worst_shift: lowest top-1 of the suites, and its name. worst_class, worst_class_ood: lowest top-1 of a class on the
    test set, and over all suites together, with the images of that class. ece_id, ece_ood: expected calibration error,
    15 bins of equal width.
    """
    rows = []
    for view, task, entry, cells in sources.measured():
        outcomes = {name: [view.outcome(cell, name) for cell in cells] for name in view.set_names(task)}
        test = [of_set for name, of_set in outcomes.items() if name == "test"]
        shifted = [of_set for name, of_set in outcomes.items() if name != "test"]
        frames = [of_set[0].frame for of_set in outcomes.values()]
        suites = {name: mean_of(view, cells, f"{name}/top1") for name in view.suites(task)}
        worst = min(suites, key=lambda name: suites[name], default="")
        rows.append(
            {
                "scope": view.name,
                "scale": view.scale,
                "task": view.label(task),
                "method": entry.label,
                "selected_on": view.selected_on(entry),
                "n_seeds": len(cells),
                "n_groups": len({name for frame in frames for name in frame.group_names.tolist()}),
                "n_images": sum(len(frame.labels) for frame in frames),
                "id": mean_of(view, cells, "test/top1"),
                "ood": mean_of(view, cells, "ood/mean/top1"),
                "worst_shift": suites.get(worst, np.nan),
                "worst_shift_name": worst.removeprefix("ood/"),
                **_worst_class(view, task, test, ""),
                **_worst_class(view, task, shifted, "_ood"),
                "ece_id": _calibration(test),
                "ece_ood": _calibration(shifted),
                "cells": " ".join(cells),
            }
        )
    return pd.DataFrame(rows)


def _worst_class(view: Evidence, task: str, sets: Sequence[Sequence[SetOutcome]], suffix: str) -> Mapping[str, Any]:
    """The class with the lowest accuracy over these sets, mean over seeds, and how many images it has."""
    classes = view.card(task).classes
    right, images = np.zeros(len(classes)), np.zeros(len(classes))
    for of_set in sets:
        for outcome in of_set:
            right += np.bincount(outcome.frame.labels, outcome.hits, minlength=len(classes)) / len(of_set)
        images += np.bincount(of_set[0].frame.labels, minlength=len(classes))
    share = np.divide(right, images, out=np.full(len(classes), np.inf), where=images > 0)
    k = int(np.argmin(share))
    worst = (float(share[k]), classes[k], int(images[k])) if images.any() else (np.nan, "", 0)
    return dict(zip((f"worst_class{suffix}{of}" for of in ("", "_name", "_images")), worst, strict=True))


def _calibration(sets: Sequence[Sequence[SetOutcome]]) -> float:
    """Mean over seeds of the calibration error on all images of these sets together; NaN without sets."""
    by_seed = zip(*sets, strict=True)
    bins = [np.sum([calibration_bins(o.confidence, o.hits) for o in of_seed], axis=0) for of_seed in by_seed]
    return float(np.mean([calibration_error(of_seed) for of_seed in bins])) if bins else float("nan")
