"""Selection on validation against oracle selection, and the effect of unequal numbers of trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from carft.store.study import StudyFile
from reports.analysis.contrasts import PLACES, Contrast, Found, Sets, id_test
from reports.analysis.pairing import difference
from reports.evidence.evidence import CAR_FT, FT, ORACLE, VALIDATION, Evidence
from reports.evidence.results import finished_trials
from reports.stats.intervals import two_way
from reports.stats.ranks import expected_best_of_searches, whole_searches


def oracle(evidence: Evidence, sets: Sets = id_test, select_by: Sets | None = None, what: str = "top1") -> Found | None:
    """CAR-FT minus FT of the search cells that are best on test; None unless all finished search cells are unsealed.

    Search cells have one seed, so there is no seed term and the intervals are too short.

    sets: where the sides are compared. select_by: where the cells are selected by top-1, by default the same sets.
    what: the metric of the comparison, as of :class:`Contrast`.
    """
    found = Found({})
    contrast = Contrast(CAR_FT, FT, what, sets)
    for task in evidence.tasks:
        names, by = sets(evidence, task), (select_by or sets)(evidence, task)
        pairs = _best_pairs(evidence, task, by)
        made = difference(evidence, pairs, names, contrast.metric(evidence, task)) if names and pairs else None
        if made is None:
            return None
        found.estimates[task] = two_way(made[0], seeds_vary=False), tuple(cell for pair in pairs for cell in pair)
    return found if found.estimates else None


def _best_pairs(evidence: Evidence, task: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """CAR-FT's and FT's best search cells on test, one pair per search; empty unless all are unsealed."""
    ours, theirs = (
        [best_on_test(evidence, study, names) for study in evidence.searches(task, entry.method)]
        for entry in (CAR_FT, FT)
    )
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a is not None and b is not None]
    return pairs if len(pairs) == len(ours) == len(theirs) else []


def best_on_test(evidence: Evidence, study: StudyFile, names: Sequence[str]) -> str | None:
    """The search cell with the highest mean top-1 on these sealed sets; None unless all finished ones were unsealed."""
    trials = [t.cell for t in finished_trials(study, evidence.records)]
    open_ones = [cell for cell in trials if evidence.archive.is_open(cell, study.task, names)]
    if not trials or len(open_ones) < len(trials):
        return None
    scores = {cell: np.mean([evidence.metrics(cell)[f"{name}/top1"] for name in names]) for cell in trials}
    return max(trials, key=lambda cell: (scores[cell], -trials.index(cell)))


def selection_table(evidence: Evidence) -> pd.DataFrame:
    """CAR-FT minus FT under ID validation and under oracle selection, side by side, with the gap between them.

    One row per scope, set and way of selecting; effects are shares of 1. Oracle rows carry ``test (oracle)``.
    """
    rows = [row for view in evidence.views() for where, sets in PLACES for row in _selection_rows(view, where, sets)]
    return pd.DataFrame(rows, columns=SELECTION_COLUMNS)


SELECTION_COLUMNS = [
    "scope", "scale", "where", "selected_on", "effect", "low", "high", "gap", "n_tasks", "n_seeds", "n_groups", "note",
    "cells",
]  # fmt: skip


def _selection_rows(view: Evidence, where: str, sets: Sets) -> Iterator[tuple[object, ...]]:
    chosen = Contrast(CAR_FT, FT, "top1", sets).found(view)
    best = oracle(view, sets) if chosen.estimates else None
    one_seed = "search cells with one seed: groups vary only, and the maximum over trials flatters both sides"
    sides = ((VALIDATION, chosen, "confirm cells, seeds and groups vary"), (ORACLE, best, one_seed))
    for how, found, note in sides:
        if found is not None and found.estimates:
            mean = found.pooled()
            gap = math.nan if found is chosen else mean.effect - chosen.pooled().effect
            numbers = (mean.effect, *mean.interval(), gap, len(found.estimates), mean.n_seeds, mean.n_groups)
            yield (view.name, view.scale, where, how, *numbers, note, " ".join(found.cells))


def one_trial_table(trials: pd.DataFrame) -> pd.DataFrame:
    """A method minus FT on validation when FT has fewer trials, mean over tasks.

    One row per scope, method and number n of FT's trials. The method has as many trials as both sides have on every
    task; FT has its expected best of n trials. The last row compares equal numbers of trials, and ``inflation`` is the
    difference to it. A scope with pruned trials has no rows.
    """
    rows = []
    trials = whole_searches(trials)
    grouped = trials.groupby(["scope", "scale"], sort=False) if len(trials) else ()
    for (scope, scale), part in grouped:
        groups = part.groupby(["method", "task"])
        curves = {(str(key[0]), str(key[1])): expected_best_of_searches(group) for key, group in groups}
        tasks = sorted({task for method, task in curves if method == FT.method})
        for method in sorted({method for method, _ in curves if method != FT.method}):
            both = [task for task in tasks if (method, task) in curves]
            if not both:
                continue
            longest = min(len(curves[name, task]) for name in (FT.method, method) for task in both)
            full = float(np.mean([curves[method, task][longest - 1] for task in both]))
            gains = [full - float(np.mean([curves[FT.method, task][n] for task in both])) for n in range(longest)]
            for n, gain in enumerate(gains, start=1):
                rows.append((scope, scale, method, n, gain, gain - gains[-1], len(both), VALIDATION))
    return pd.DataFrame(rows, columns=ONE_TRIAL_COLUMNS)


ONE_TRIAL_COLUMNS = ["scope", "scale", "method", "ft_trials", "gain", "inflation", "n_tasks", "selected_on"]


def one_trial_words(table: pd.DataFrame) -> str:
    """The first and the last row of CAR-FT's comparison in a scope, in a sentence; empty without a search."""
    mine = table[table["method"] == CAR_FT.method]
    if len(mine) < 2:
        return ""
    first, last = mine.iloc[0], mine.iloc[-1]
    return (
        f"Had fine-tuning had one trial and CAR-FT all of its own, a reader would have seen CAR-FT ahead by "
        f"{100 * first['gain']:+.1f} points on validation, instead of {100 * last['gain']:+.1f} at equal budgets: "
        f"{100 * first['inflation']:.1f} points of tuning taken for method."
    )
