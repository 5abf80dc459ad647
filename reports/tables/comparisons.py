"""Every trained method and WiSE-FT against plain fine-tuning, CAR-FT against every other: means over tasks, paired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from carft.spec.registry import METHODS, trained_methods
from reports.analysis.contrasts import Contrast, Part, pool
from reports.analysis.levels import LEVELS
from reports.evidence.evidence import CAR_FT, FT, VALIDATION, WISE, Entry, Evidence

COLUMNS = (
    "contrast", "where", "scope", "scale", "selected_on", "effect", "low", "high", "smallest_visible", "floor",
    "n_tasks", "n_searches", "n_seeds", "n_groups", "flaws", "cells",
)  # fmt: skip


def comparison_table(evidence: Evidence) -> pd.DataFrame:
    """One row per scope, pair of methods and place; effect, low and high are shares of 1.

    With interpolations, WiSE-FT of FT, alpha chosen on validation, is compared with FT and with CAR-FT. Where other
    methods were searched less often, further rows compare CAR-FT with FT in as many first searches, so that what the
    others are compared with can be told from what further searches changed.

    flaws: evidence that is missing, and what besides the method differs between the two sides; empty for nothing.
    """
    rows = [row for view in evidence.views() for row in _rows(view)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(view: Evidence) -> Iterator[dict[str, Any]]:
    others = [Entry(name) for name in trained_methods() if _has(view, Entry(name))]
    pairs = [(entry, FT) for entry in others if entry != FT]
    pairs += [(CAR_FT, entry) for entry in others if entry not in (FT, CAR_FT)]
    asked = [(_named(first, second), view, first, second) for first, second in pairs]
    asked += [(f"WiSE(FT) - {METHODS[e.method].label}", view, WISE, e) for e in (FT, CAR_FT) if _has(view, WISE)]
    asked += [(f"{_named(CAR_FT, FT)}, {words}", fewer, CAR_FT, FT) for words, fewer in _fewer_searches(view)]
    for name, part_of_view, first, second in asked:
        for where, (metric, sets) in LEVELS.items():
            found = pool(part_of_view, Contrast(first, second, metric, sets), name)
            if found is not None and found.tasks:
                yield _row(view, found, where)


def _has(view: Evidence, entry: Entry) -> bool:
    return any(view.cells(task, entry) for task in view.tasks)


def _named(first: Entry, second: Entry) -> str:
    return f"{METHODS[first.method].label} - {METHODS[second.method].label}"


def _fewer_searches(view: Evidence) -> Iterator[tuple[str, Evidence]]:
    """(words, the view with so many first searches) for each smaller number of searches that another method has."""
    sides = (CAR_FT.method, FT.method)
    counts = view.searches_of(trained_methods())
    both = min(counts.get(name, 0) for name in sides)
    for count in sorted({count for count in counts.values() if count < both}):
        words = "first search" if count == 1 else f"first {count} searches"
        yield words, view.with_first_searches(count, sides)


def _row(view: Evidence, part: Part, where: str) -> dict[str, Any]:
    estimate = part.estimate
    values = (
        part.name, where, view.name, view.scale, VALIDATION, estimate.effect, *estimate.interval(),
        estimate.smallest_visible(), estimate.floor(), len(part.tasks), estimate.n_searches, estimate.n_seeds,
        estimate.n_groups, "; ".join((*part.flaws, *part.unequal)), " ".join(part.cells),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))
