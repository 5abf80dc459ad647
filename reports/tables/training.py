"""Search trials and training curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from carft.store.edges import edges_of
from reports.evidence.evidence import VALIDATION, Evidence
from reports.evidence.results import finished_trials, stopped_trials
from reports.stats.ranks import expected_best_of_searches, whole_searches


def trial_table(evidence: Evidence) -> pd.DataFrame:
    """Every finished search trial: task, method, hyperparameters, validation metrics, and whether it won.

    The column ``given_up`` is the number of pruned trials of the study. The column ``search`` exists where the folder
    holds several searches. ``at_edge`` names the winner's values at the edge of their search range.
    """
    rows = []
    several = any(study.search > 1 for view in evidence.views() for study in view.studies)
    for view in evidence.views():
        for study in view.studies:
            pruned = len(stopped_trials(study, view.store))
            for trial in finished_trials(study, view.records):
                metrics = view.records[trial.cell].metrics
                rows.append(
                    {
                        "task": view.label(study.task),
                        "method": study.method,
                        **({"search": study.search} if several else {}),
                        "trial": trial.number,
                        "scope": view.name,
                        "scale": view.scale,
                        **trial.parameters,
                        "val/top1": metrics["val/top1"],
                        "val/loss": metrics["val/loss"],
                        "won": trial.cell == study.winner,
                        "at_edge": ", ".join(edges_of(study)) if trial.cell == study.winner else "",
                        "given_up": pruned,
                        "selected_on": VALIDATION,
                        "cell": trial.cell,
                    }
                )
    return pd.DataFrame(rows)


def best_of_n_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Expected best validation top-1 after n trials, mean over the tasks of a scope whose studies have that many.

    A scope with pruned trials has no rows.
    """
    trials = whole_searches(trials)
    columns = ["scope", "scale", "method", "n", "expected_best", "n_tasks", "selected_on"]
    rows = []
    for key, of_method in trials.groupby(["scope", "scale", "method"], sort=False) if len(trials) else ():
        curves = [expected_best_of_searches(of_task) for _, of_task in of_method.groupby("task")]
        for n in range(min(map(len, curves))):
            mean = float(np.mean([curve[n] for curve in curves]))
            rows.append(dict(zip(columns, (*key, n + 1, mean, len(curves), VALIDATION), strict=True)))
    return pd.DataFrame(rows, columns=columns)


def history_table(evidence: Evidence) -> pd.DataFrame:
    """Training curves of the confirm cells, per scope, method and epoch: means over tasks and seeds."""
    frames = []
    for view, study, _, history in evidence.confirm_histories():
        if history:
            means = _per_epoch(history)
            frames.append(means.assign(method=study.method, scope=view.name, scale=view.scale))
    if not frames:
        return pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    return joined.groupby(["scope", "scale", "method", "epoch"], as_index=False, sort=False).mean(numeric_only=True)


def _per_epoch(history: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Means over the steps of each epoch, without NaN values; NaN where an epoch has no other."""
    epochs, index = np.unique(history["epoch"], return_inverse=True)
    columns = {"epoch": epochs}
    for name, values in history.items():
        if name != "epoch":
            there = ~np.isnan(values)
            sums = np.bincount(index[there], values[there], minlength=len(epochs))
            counts = np.bincount(index[there], minlength=len(epochs))
            columns[name] = np.divide(sums, counts, out=np.full(len(epochs), np.nan), where=counts > 0)
    return pd.DataFrame(columns)
