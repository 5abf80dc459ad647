"""Search trials, what their number is worth, how winners are selected, and training curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from carft.store.study import edges_of
from reports.analysis.contrasts import PLACES, Contrast, Sets, oracle
from reports.analysis.levels import chance_of_contexts
from reports.evidence.evidence import CAR_FT, FT, ORACLE, VALIDATION, Evidence
from reports.evidence.results import finished_trials, stopped_trials
from reports.stats.ranks import expected_best_of_searches, whole_searches
from reports.tables.table import Formula, Row, Sources, TableCard, history_cells


def trial_table(evidence: Evidence) -> pd.DataFrame:
    """Every finished search trial: task, method, hyperparameters, validation metrics, and whether it won.

    The column ``given_up`` is the number of pruned trials of the study. The column ``search`` exists where the folder
    holds several searches. ``at_edge`` names the winner's values at the edge of their search range.
    """
    rows = []
    several = any(study.search > 1 for view in evidence.views() for study in view.studies)
    for view in evidence.views():
        for study in view.studies:
            pruned = len(stopped_trials(study))
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


TRIALS_CARD = TableCard(
    "trials",
    "Search trials",
    "Every finished trial of every search, with validation numbers only.",
    lambda sources: trial_table(sources.evidence),
    ("task", "method", "search", "trial"),
    shares=("val/top1",),
    hidden=(),
    formulas={name: Formula(f"The cell's {name}.", name) for name in ("val/top1", "val/loss")},
)


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


def _trial_cells(sources: Sources, row: Row) -> Sequence[str]:
    """Search cells of the method of a row, on every task of its scope."""
    trials = sources.table("trials")
    return trials.loc[(trials["method"] == row["method"]) & (trials["scope"] == row["scope"]), "cell"].tolist()


BEST_OF_N_CARD = TableCard(
    "best_of_n",
    "Best of n",
    "Expected validation top-1 in % of the best of n trials, mean over tasks.",
    lambda sources: best_of_n_table(sources.table("trials")),
    ("method", "n"),
    shares=("expected_best",),
    formulas={
        "expected_best": Formula(
            "Mean over tasks of the expected maximum of val/top1 of n trials drawn without replacement: "
            "sum over ranks r of C(r, n - 1) x value(r) / C(trials, n)."
        )
    },
    cells=_trial_cells,
)


def history_table(evidence: Evidence) -> pd.DataFrame:
    """Training curves of the confirm cells, per scope, method and epoch: means over tasks and seeds."""
    frames = []
    for view, study, _, history in evidence.confirm_histories():
        if history:
            named = {"method": study.method, "scope": view.name, "scale": view.scale}
            chance = chance_of_contexts(view, [study.task])
            frames.append(_per_epoch(history).assign(**named, context_chance=chance))
    if not frames:
        return pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    return joined.groupby(["scope", "scale", "method", "epoch"], as_index=False, sort=False).mean(numeric_only=True)


HISTORY_CARD = TableCard(
    "history",
    "Training curves",
    "Means over tasks and confirm seeds per epoch.",
    lambda sources: history_table(sources.evidence),
    ("method", "epoch"),
    formulas={"*": Formula("Mean over the cells of the mean over the epoch's steps (history.parquet).")},
    cells=history_cells,
    on_page=False,
)


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


def selection_table(evidence: Evidence) -> pd.DataFrame:
    """CAR-FT minus FT under each way to select that was run, side by side, with the gap to the first one.

    One row per scope, set and way of selecting; effects are shares of 1. Oracle rows carry ``test (oracle)``.
    """
    rows = [row for view in evidence.views() for where, sets in PLACES for row in _selection_rows(view, where, sets)]
    return pd.DataFrame(rows, columns=SELECTION_COLUMNS)


SELECTION_CARD = TableCard(
    "selection",
    "Ways to select",
    "CAR-FT minus FT with winners chosen on validation: as reported and, where both were run, the other way (of each "
    "task alone, or shared by its family). Where search cells were unsealed for it, also on test: an upper bound for "
    "both sides, never a result.",
    lambda sources: selection_table(sources.evidence),
    ("scope", "where", "selected_on"),
    points=("effect", "low", "high", "gap"),
)


SELECTION_COLUMNS = [
    "scope", "scale", "where", "selected_on", "effect", "low", "high", "gap", "n_tasks", "n_seeds", "n_groups", "note",
    "cells",
]  # fmt: skip


def _selection_rows(view: Evidence, where: str, sets: Sets) -> Iterator[tuple[object, ...]]:
    chosen = Contrast(CAR_FT, FT, "top1", sets).estimate(view)
    best = oracle(view, sets) if chosen.estimates else None
    one_seed = "search cells with one seed: groups vary only, and the maximum over trials flatters both sides"
    varied = "confirm cells, seeds and groups vary"
    other = view.other_selection
    again = Contrast(CAR_FT, FT, "top1", sets).estimate(other) if other else None
    name = f"{VALIDATION}, {'shared' if other and other.is_shared else 'per task'}"
    sides = ((VALIDATION, chosen, varied), (name, again, varied), (ORACLE, best, one_seed))
    for how, result, note in sides:
        if result is not None and result.estimates:
            mean = result.pooled()
            gap = math.nan if result is chosen else mean.effect - chosen.pooled().effect
            numbers = (mean.effect, *mean.interval(), gap, len(result.estimates), mean.n_seeds, mean.n_groups)
            yield (view.name, view.scale, where, how, *numbers, note, " ".join(result.cells))


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


ONE_TRIAL_CARD = TableCard(
    "one_trial",
    "Had the baseline had fewer trials",
    "Validation top-1 of a method's winner minus FT's expected best of n trials, mean over tasks, in points.",
    lambda sources: one_trial_table(sources.table("trials")),
    ("scope", "method", "ft_trials"),
    points=("gain", "inflation"),
    cells=_trial_cells,
)


ONE_TRIAL_COLUMNS = ["scope", "scale", "method", "ft_trials", "gain", "inflation", "n_tasks", "selected_on"]


def one_trial_words(table: pd.DataFrame) -> str:
    """The first and the last row of CAR-FT's comparison in a scope, in a sentence; empty without a search."""
    gains = table[table["method"] == CAR_FT.method]
    if len(gains) < 2:
        return ""
    first, last = gains.iloc[0], gains.iloc[-1]
    return (
        f"Had fine-tuning had one trial and CAR-FT all of its own, a reader would have seen CAR-FT ahead by "
        f"{100 * first['gain']:+.1f} points on validation, instead of {100 * last['gain']:+.1f} at equal budgets: "
        f"{100 * first['inflation']:.1f} points of tuning taken for method."
    )
