"""Every trained method against plain fine-tuning, and CAR-FT against every other: means over tasks, paired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from carft.spec.registry import METHODS, trained_methods
from reports.analysis.contrasts import Contrast, Part, pool
from reports.analysis.levels import LEVELS
from reports.evidence.evidence import CAR_FT, FT, VALIDATION, Entry, Evidence

COLUMNS = (
    "contrast", "where", "scope", "scale", "selected_on", "effect", "low", "high", "smallest_visible", "floor",
    "n_tasks", "n_searches", "n_seeds", "n_groups", "flaws", "cells",
)  # fmt: skip


def comparison_table(evidence: Evidence) -> pd.DataFrame:
    """One row per scope, pair of methods and place; effect, low and high are shares of 1.

    flaws: evidence that is missing, and what besides the method differs between the two sides; empty for nothing.
    """
    rows = [row for view in evidence.views() for row in _rows(view)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(view: Evidence) -> Iterator[dict[str, Any]]:
    others = [Entry(name) for name in trained_methods() if any(view.cells(task, Entry(name)) for task in view.tasks)]
    pairs = [(entry, FT) for entry in others if entry != FT]
    pairs += [(CAR_FT, entry) for entry in others if entry not in (FT, CAR_FT)]
    for first, second in pairs:
        name = f"{METHODS[first.method].label} - {METHODS[second.method].label}"
        for where, (metric, sets) in LEVELS.items():
            found = pool(view, Contrast(first, second, metric, sets), name)
            if found is not None and found.tasks:
                yield _row(view, found, where)


def _row(view: Evidence, part: Part, where: str) -> dict[str, Any]:
    estimate = part.estimate
    values = (
        part.name, where, view.name, view.scale, VALIDATION, estimate.effect, *estimate.interval(),
        estimate.smallest_visible(), estimate.floor(), len(part.tasks), estimate.n_searches, estimate.n_seeds,
        estimate.n_groups, "; ".join((*part.flaws, *part.unequal)), " ".join(part.cells),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))
