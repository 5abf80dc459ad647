"""Search trials, what their number is worth, how winners are selected, and training curves."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from carft.config.cell import PROTOCOL, display_form
from carft.store.study_file import StudyFile, edges_of
from reports.analysis.contrasts import PLACES, Contrast, ContrastResult, Sets, oracle
from reports.analysis.levels import chance_of_contexts
from reports.evidence.evidence import CAR_FT, FT, ORACLE, VALIDATION, Evidence
from reports.evidence.results import finished_trials
from reports.stats.ranks import expected_best
from reports.tables.table import Sources, TableRow, numbers_of, table
from reports.words.tables_words import CONFIRM_NOTE, ORACLE_NOTE, setting_words

#: columns of the table ``one_trial``
ONE_TRIAL = ["scope", "scale", "method", "ft_trials", "gain", "inflation", "n_tasks", "selected_on"]


@table(
    "Search trials",
    "Every finished trial, with validation numbers only.",
    ["task", "method", "search", "trial"],
    shares=("val/top1",),
    hidden=(),
    metrics={"val/top1": "val/top1", "val/loss": "val/loss"},
)
def trials(sources: Sources) -> pd.DataFrame:
    """Every finished search trial: task, method, hyperparameters, validation metrics, and whether it won.

    ``at_edge`` names the winner's values at the edge of their search range.
    """
    rows: list[dict[str, Any]] = []
    for view in sources.evidence.views():
        for study in view.studies:
            rows += _rows_of_trials(view, study)
    return pd.DataFrame(rows)


def _rows_of_trials(view: Evidence, study: StudyFile) -> Iterator[dict[str, Any]]:
    for trial in finished_trials(study, view.records):
        has_won, metrics = trial.cell == study.winner, view.records[trial.cell].metrics
        yield {
            "task": study.task,
            "method": study.method,
            "search": study.search,
            "trial": trial.number,
            **view.columns,
            **trial.parameters,
            "val/top1": metrics["val/top1"],
            "val/loss": metrics["val/loss"],
            "won": has_won,
            "at_edge": ", ".join(edges_of(study)) if has_won else "",
            "selected_on": VALIDATION,
            "cell": trial.cell,
        }


@table(
    "Studies",
    "Every search with what it was given: ranges, training recipe, model, data and protocol; finished trials and "
    "confirm cells.",
    ["scope", "task", "method", "search"],
)
def studies(sources: Sources) -> pd.DataFrame:
    """One row per study. training: settings and readings other than the defaults."""
    rows = []
    for view in sources.evidence.views():
        for study in view.studies:
            rows.append({**view.columns, **_row_of_study(view, study)})
    return pd.DataFrame(rows)


def _row_of_study(view: Evidence, study: StudyFile) -> dict[str, Any]:
    return {
        "task": study.task,
        "method": study.method,
        "search": study.search,
        "n_trials": len(finished_trials(study, view.records)),
        "n_confirm": sum(cell in view.records for cell in study.confirm),
        "ranges": ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high, _) in study.space.items()),
        "training": setting_words({**study.training.content(), **study.reading}),
        "model": ", ".join((*display_form(study.model, study.pretrained), study.precision)),
        "data": study.data_version,
        **{name: getattr(study, name) for name in PROTOCOL},
        "selected_on": VALIDATION,
        "cells": " ".join([*study.trial_cells, *study.confirm]),
    }


def _cells_of_curve(sources: Sources, row: TableRow) -> Sequence[str]:
    """The confirm cells of the method of a row in its scope."""
    cells = []
    for view, _, cell in sources.evidence.confirm_cells(row["method"]):
        if view.name == row["scope"]:
            cells.append(cell)
    return cells


@table(
    "Training curves",
    "Means over tasks and confirm seeds per epoch.",
    ["method", "epoch"],
    formulas={"*": "Mean over the cells of the mean over the epoch's steps (history.parquet)."},
    cells=_cells_of_curve,
    on_page=False,
)
def history(sources: Sources) -> pd.DataFrame:
    """Training curves of the confirm cells, per scope, method and epoch: means over tasks and seeds."""
    frames = []
    for view, study, cell in sources.evidence.confirm_cells():
        history = view.archive.history(cell)
        if history:
            steps = pd.DataFrame(dict(history)).groupby("epoch", as_index=False).mean()
            named = {"method": study.method, **view.columns}
            frames.append(steps.assign(**named, context_chance=chance_of_contexts(view, [study.task])))
    if not frames:
        return pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    return joined.groupby(["scope", "scale", "method", "epoch"], as_index=False, sort=False).mean(numeric_only=True)


@table(
    "Ways to select",
    "CAR-FT minus FT with winners chosen on validation: as reported and, where both were run, the other way (of each "
    "task alone, or shared by its family). Where search cells were unsealed for it, also on test: an upper bound for "
    "both sides, never a result.",
    ["scope", "where", "selected_on"],
    points=("effect", "low", "high", "gap"),
)
def selection(sources: Sources) -> pd.DataFrame:
    """CAR-FT minus FT under each way to select that was run, side by side, with the gap to the first one.

    One row per scope, set and way of selecting; effects are shares of 1. Oracle rows carry ``test (oracle)``.
    """
    rows = []
    for view, (where, sets) in product(sources.evidence.views(), PLACES):
        ways = _ways_to_select(view, sets)
        chosen = ways[VALIDATION]
        for way, result in ways.items():
            if not result.estimates:
                continue
            mean, gap = result.pooled(), math.nan
            if way != VALIDATION:
                gap = mean.effect - chosen.pooled().effect
            rows.append(
                {
                    **view.columns,
                    "where": where,
                    "selected_on": way,
                    **numbers_of(mean, "effect", "low", "high"),
                    "gap": gap,
                    "n_tasks": len(result.estimates),
                    **numbers_of(mean, "n_seeds", "n_groups"),
                    "note": ORACLE_NOTE if way == ORACLE else CONFIRM_NOTE,
                    "cells": " ".join(result.cells),
                }
            )
    return pd.DataFrame(rows)


def _ways_to_select(view: Evidence, sets: Sets) -> dict[str, ContrastResult]:
    """Way to select -> CAR-FT minus FT, of those that were run; the reported one first."""
    ways = {VALIDATION: Contrast(CAR_FT, FT, "top1", sets).estimate(view)}
    if ways[VALIDATION].estimates:
        best = oracle(view, sets)
        if best is not None:
            ways[ORACLE] = best
    return ways


def _trial_cells(sources: Sources, row: TableRow) -> Sequence[str]:
    """Search cells of the method of a row, on every task of its scope."""
    return sources.trial_cells.get((row["scope"], row["method"]), ())


def _expected_best(trials: pd.DataFrame) -> dict[str, np.ndarray]:
    """Task -> the expected best of 1, 2, ... trials of one method in one scope, the mean over searches."""
    expected = {}
    for task, of_task in trials.groupby("task"):
        curves = {}
        for search, scores in of_task.groupby("search")["val/top1"]:
            curves[str(search)] = np.array(expected_best(scores.tolist()))
        expected[str(task)] = _cut(curves, list(curves)).mean(0)
    return expected


@table(
    "Had the baseline had fewer trials",
    "Validation top-1 of a method's winner minus FT's expected best of n trials, mean over tasks, in points.",
    ["scope", "method", "ft_trials"],
    points=("gain", "inflation"),
    cells=_trial_cells,
)
def one_trial(sources: Sources) -> pd.DataFrame:
    """A method minus FT on validation when FT has fewer trials, mean over tasks.

    One row per scope, method and number n of FT's trials. The method has as many trials as both sides have on every
    task; FT has its expected best of n trials. The last row compares equal numbers of trials, and ``inflation`` is the
    difference to it.
    """
    rows = []
    trials = sources.table("trials")
    if trials.empty:
        return pd.DataFrame(columns=ONE_TRIAL)
    for (scope, scale), of_scope in trials.groupby(["scope", "scale"], sort=False):
        by_method = {str(method): _expected_best(part) for method, part in of_scope.groupby("method")}
        of_ft = by_method.pop(FT.method, {})
        for method, curves in by_method.items():
            both = [task for task in of_ft if task in curves]
            if both:
                gains = _gains(_cut(curves, both), _cut(of_ft, both))
                for n, gain in enumerate(gains, start=1):
                    rows.append((scope, scale, method, n, gain, gain - gains[-1], len(both), VALIDATION))
    return pd.DataFrame(rows, columns=ONE_TRIAL)


def _cut(curves: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """(names, n) the curves of these names, each cut to the length of the shortest."""
    shortest = min(len(curves[name]) for name in names)
    return np.array([curves[name][:shortest] for name in names])


def _gains(ours: np.ndarray, of_ft: np.ndarray) -> np.ndarray:
    """(n,) the method with all n trials minus FT with 1 to n, mean over tasks. n: of as many as both sides have."""
    most = min(ours.shape[1], of_ft.shape[1])
    return ours[:, most - 1].mean() - of_ft[:, :most].mean(0)
