"""Paired differences of methods, and the parts of the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.analysis.contrasts import METRIC_WORDS, OF_CARD, PLACES, Contrast, id_test
from reports.claims.verdicts import Verdict
from reports.evidence.evidence import CAR_FT, FT, VALIDATION, WISE, WISE_CAR, ZERO_SHOT, Entry, Evidence

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
            found = contrast.found(view)
            for task, (estimate, cells) in found.estimates.items():
                metric = found.metrics[task]
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


def _tuned(evidence: Evidence, task: str, entry: Entry) -> str:
    """The winning hyperparameters of an entry as text; of several searches the range."""
    cells = evidence.cells(task, Entry(entry.parent or entry.method))
    each = [evidence.records[cell].cell.hyperparameters for cell in cells]
    ranges = {name: [values[name] for values in each] for name in each[0]}
    return ", ".join(f"{name.replace('_', ' ')} {_range(found)}" for name, found in ranges.items()) or "-"


def _range(values: Sequence[float]) -> str:
    """``0.0003``, or ``0.11 to 1.5``."""
    low, high = (f"{value:.2g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per part of a verdict. low_plain and high_plain use the raw variance sum with Satterthwaite's t."""
    rows = []
    for verdict in verdicts:
        for part in verdict.parts:
            estimate = part.estimate
            rows.append(
                {
                    "claim": verdict.claim,
                    "verdict": verdict.verdict,
                    "scope": verdict.scope,
                    "scale": verdict.scale,
                    "selected_on": part.selected_on,
                    "part": part.name,
                    "deciding": part.deciding,
                    "margin": part.margin,
                    "effect": estimate.effect,
                    "low": part.low,
                    "high": part.high,
                    "low_plain": estimate.plain().interval()[0],
                    "high_plain": estimate.plain().interval()[1],
                    "df": estimate.df,
                    "smallest_visible": estimate.smallest_visible(),
                    "floor": estimate.floor(),
                    "n_tasks": len(part.tasks),
                    "n_seeds": estimate.n_seeds,
                    "n_groups": estimate.n_groups,
                    "metric": part.metric,
                }
            )
    return pd.DataFrame(rows)
