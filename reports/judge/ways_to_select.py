"""CAR-FT minus FT by the way to select winners, and what the number of the baseline's trials is worth."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.judge.contrasts.contrast import PLACES, Contrast
from reports.judge.contrasts.oracle import oracle
from reports.judge.entry import CAR_FT, FT
from reports.judge.estimate import Estimate
from reports.judge.evidence import ORACLE, VALIDATION, Evidence
from reports.judge.ranks import expected_best


@dataclass(frozen=True)
class Selected:
    """CAR-FT minus FT in top-1, with winners that were selected on validation or on test."""

    where: str
    """The test sets: a name of :data:`reports.judge.contrasts.contrast.PLACES`."""
    selected_on: str
    """``VALIDATION`` or ``ORACLE``."""
    mean: Estimate
    gap: float
    """Of the oracle: its effect minus that of validation, a share of 1; else NaN."""
    n_tasks: int
    cells: Sequence[str]


def ways_to_select(view: Evidence) -> Iterator[Selected]:
    """With winners chosen on validation, and where search cells were unsealed for it also on test."""
    for where, sets in PLACES:
        chosen = Contrast(CAR_FT, FT, "top1", sets).estimate(view)
        if not chosen.estimates:
            continue
        mean = chosen.pooled()
        yield Selected(where, VALIDATION, mean, math.nan, len(chosen.estimates), chosen.cells)
        best = oracle(view, sets)
        if best is not None and best.estimates:
            of_best = best.pooled()
            yield Selected(where, ORACLE, of_best, of_best.effect - mean.effect, len(best.estimates), best.cells)


@dataclass(frozen=True)
class TrialsGain:
    """A method minus FT on validation where FT has its expected best of fewer trials, mean over tasks."""

    method: str
    ft_trials: int
    gain: float
    """Share of 1."""
    inflation: float
    """The gain minus that at equal numbers of trials."""
    n_tasks: int
    cells: Sequence[str]


def trials_of(view: Evidence) -> pd.DataFrame:
    """A row for each finished trial: task, method, search, val/top1 (a share of 1), cell."""
    rows = []
    for study in view.studies:
        for trial in view.finished_trials(study):
            top1 = view.records[trial.cell].metrics["val/top1"]
            rows.append((study.task, study.method, study.search, top1, trial.cell))
    return pd.DataFrame(rows, columns=["task", "method", "search", "val/top1", "cell"])


def gains_with_fewer_trials(trials: pd.DataFrame) -> Iterator[TrialsGain]:
    """Every method with FT's expected best of n = 1, 2, ... trials. trials: as of :func:`trials_of`.

    The method has as many trials as both sides have on every task. The last n compares equal numbers.
    """
    if trials.empty:
        return
    expected = _expected_best(trials)
    if FT.method not in expected.index:
        return
    of_ft = pd.DataFrame(expected.xs(FT.method))
    for method in sorted(trials["method"].unique()):
        ours = pd.DataFrame(expected.xs(method))
        both = ours.index.intersection(of_ft.index)
        if method == FT.method or both.empty:
            continue
        ours, theirs = ours.loc[both].dropna(axis=1), of_ft.loc[both].dropna(axis=1)
        cells = trials.loc[trials["method"] == method, "cell"].tolist()
        most = min(ours.shape[1], theirs.shape[1])
        gains = ours[most].mean() - theirs.mean()
        for n in range(1, most + 1):
            yield TrialsGain(method, n, gains[n], gains[n] - gains[most], len(both), cells)


def _expected_best(trials: pd.DataFrame) -> pd.DataFrame:
    """(method and task, n) the expected best of n = 1, 2, ... trials, the mean over searches that have so many."""
    rows = {}
    for (method, task, search), scores in trials.groupby(["method", "task", "search"])["val/top1"]:
        rows[method, task, search] = pd.Series(dict(enumerate(expected_best(scores.tolist()), start=1)))
    curves = pd.DataFrame(rows).T.rename_axis(["method", "task", "search"])
    of_task = curves.groupby(["method", "task"])
    return of_task.mean().where(of_task.count().eq(of_task.size(), axis=0))
