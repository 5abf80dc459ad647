"""Levels: what zero-shot, plain fine-tuning and CAR-FT reach in context recognition, ID and OOD, mean over tasks."""

from __future__ import annotations

import pandas as pd

from carft.spec.registry import METHODS
from reports.analysis.contrasts import Sets, every_set, every_suite, id_test
from reports.analysis.pairing import Mismatch, contributions
from reports.evidence.evidence import COMPARED, Entry, Evidence
from reports.stats.intervals import Estimate, pooled, two_way

#: what is measured -> (metric, the sets it is measured on)
LEVELS: dict[str, tuple[str, Sets]] = {
    "contexts": ("context", every_set),
    "ID test": ("top1", id_test),
    "mean OOD": ("top1", every_suite),
}
COLUMNS = ("scope", "scale", "place", "method", "value", "low", "high", "n_tasks", "n_seeds", "n_groups", "cells")

Found = dict[str, tuple[Estimate, tuple[str, ...]]]


def level_table(evidence: Evidence) -> pd.DataFrame:
    """One row per scope, place and method: the mean over the tasks that all methods of the place have.

    value, low and high are shares of 1; low and high are NaN with one seed, and within [0, 1] otherwise.
    """
    rows = [row for view in evidence.views() for place in LEVELS for row in _rows(view, place)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(evidence: Evidence, place: str) -> list[tuple[object, ...]]:
    what, sets = LEVELS[place]
    levels = {entry.label: _by_task(evidence, entry, what, sets) for entry in COMPARED}
    measured = [found for found in levels.values() if found]
    shared = [task for task in evidence.tasks if measured and all(task in found for found in measured)]
    rows: list[tuple[object, ...]] = []
    for label, found in levels.items():
        if not found or not shared:
            continue
        mean = pooled([found[task][0] for task in shared])
        cells = " ".join(cell for task in shared for cell in found[task][1])
        where = (evidence.name, evidence.scale, place, label)
        rows.append((*where, mean.effect, *mean.level_interval(), len(shared), mean.n_seeds, mean.n_groups, cells))
    return rows


def _by_task(evidence: Evidence, entry: Entry, what: str, sets: Sets) -> Found:
    """Task -> (level, cells), of the tasks that have the sets and evaluated cells of the entry."""
    found: Found = {}
    for task in evidence.tasks:
        names, cells = sets(evidence, task), evidence.cells(task, entry)
        if not cells or not names or not set(names) <= set(evidence.set_names(task)):
            continue
        try:
            made = contributions(evidence, cells, names, what)
        except Mismatch:
            continue
        if made is not None:
            found[task] = (two_way(made, seeds_vary=METHODS[entry.method].kind != "untrained"), cells)
    return found
