"""Search trials, what their number is worth, how winners are selected, and training curves."""

import math
from collections import defaultdict
from collections.abc import Iterator

import pandas as pd

from carft.config.cell import display_form
from carft.config.frozen_defaults import PROTOCOL
from carft.store.study_file import edges_of
from reports.judge.contrasts.contrast import PLACES, Contrast
from reports.judge.contrasts.oracle import oracle
from reports.judge.entry import CAR_FT, FT
from reports.judge.evidence import ORACLE, VALIDATION, Evidence
from reports.judge.findings import Findings
from reports.judge.levels import chance_of_contexts
from reports.judge.ranks import expected_best
from reports.read.folder import finished_trials
from reports.render.tables.table import (
    EFFECT,
    Column,
    TableRow,
    numbers_of,
    points,
    rows_of,
    scope_table,
    share,
    table,
)
from reports.render.words.page_words import setting_words

#: what varies in the intervals of a way to select
CONFIRM_NOTE = "confirm cells, seeds and groups vary"
ORACLE_NOTE = "search cells with one seed: groups vary only, and the maximum over trials flatters both sides"


@scope_table(
    "Search trials",
    "Every finished trial, with validation numbers only.",
    ["task", "method", "search", "trial"],
    columns={"val/top1": share(metric="{}"), "val/loss": Column(metric="{}")},
)
def trials(view: Evidence) -> Iterator[TableRow]:
    """Every finished search trial: task, method, hyperparameters, validation metrics, and whether it won.

    ``at_edge`` names the winner's values at the edge of their search range.
    """
    for study in view.studies:
        for trial in finished_trials(study, view.records):
            has_won, metrics = trial.cell == study.winner, view.records[trial.cell].metrics
            yield {
                "task": study.task,
                "method": study.method,
                "search": study.search,
                "trial": trial.number,
                **trial.parameters,
                "val/top1": metrics["val/top1"],
                "val/loss": metrics["val/loss"],
                "won": has_won,
                "at_edge": ", ".join(edges_of(study)) if has_won else "",
                "selected_on": VALIDATION,
                "cell": trial.cell,
            }


@scope_table(
    "Pruned trials",
    "Search trials that were stopped after an epoch, with the validation accuracy of that epoch. None can win.",
    ["task", "method", "search", "trial"],
    columns={"val/top1": share()},
)
def pruned(view: Evidence) -> Iterator[TableRow]:
    """Every pruned search trial: task, method, hyperparameters, epochs that it had, val/top1 (a share of 1)."""
    for study in view.studies:
        for trial in study.pruned.values():
            yield {
                "task": study.task,
                "method": study.method,
                "search": study.search,
                "trial": trial.number,
                **trial.parameters,
                "epochs": len(trial.validated),
                "val/top1": trial.validated[-1] if trial.validated else math.nan,
                "selected_on": VALIDATION,
            }


@scope_table(
    "Studies",
    "Every search with what it was given: ranges, training recipe, model, data and protocol; finished trials and "
    "confirm cells.",
    ["scope", "task", "method", "search"],
)
def studies(view: Evidence) -> Iterator[TableRow]:
    """One row per study. training: settings and readings other than the defaults."""
    for study in view.studies:
        yield {
            "task": study.task,
            "method": study.method,
            "search": study.search,
            "n_trials": len(finished_trials(study, view.records)),
            "n_pruned": len(study.pruned),
            "n_confirm": sum(cell in view.records for cell in study.confirm),
            "ranges": ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high, _) in study.space.items()),
            "training": setting_words({**study.training.content(), **study.reading}),
            "model": ", ".join((*display_form(study.model, study.pretrained), study.precision)),
            "data": study.data_version,
            **{name: getattr(study, name) for name in PROTOCOL},
            "selected_on": VALIDATION,
            "cells": " ".join([*study.trial_cells, *study.confirm]),
        }


@scope_table(
    "Training curves",
    "Means over tasks and confirm seeds per epoch.",
    ["scope", "method", "epoch"],
    columns={"*": Column(formula="Mean over the cells of the mean over the epoch's steps (history.parquet).")},
    unwritten=("cells",),
    on_page=False,
)
def history(view: Evidence) -> Iterator[TableRow]:
    """Training curves of the confirm cells, per scope, method and epoch: means over tasks and seeds."""
    frames = []
    cells = defaultdict[str, list[str]](list)
    for study, cell in view.confirm_cells():
        history = view.folder.files.history(cell)
        if history:
            cells[study.method].append(cell)
            steps = pd.DataFrame(dict(history)).groupby("epoch", as_index=False).mean()
            frames.append(steps.assign(method=study.method, context_chance=chance_of_contexts(view, [study.task])))
    if frames:
        joined = pd.concat(frames, ignore_index=True)
        means = joined.groupby(["method", "epoch"], as_index=False, sort=False).mean(numeric_only=True)
        yield from rows_of(means.assign(cells=means["method"].map(cells).map(" ".join)))


@scope_table(
    "Ways to select",
    "CAR-FT minus FT with winners chosen on validation, as reported. Where search cells were unsealed for it, also "
    "with winners chosen on test: an upper bound for both sides, never a result.",
    ["scope", "where", "selected_on"],
    columns={**EFFECT, "gap": points()},
)
def selection(view: Evidence) -> Iterator[TableRow]:
    """CAR-FT minus FT with winners chosen on validation and, where that was run, on test, with the gap between them.

    One row per scope, set and way of selecting; effects are shares of 1. Oracle rows carry ``test (oracle)``.
    """
    for where, sets in PLACES:
        chosen = Contrast(CAR_FT, FT, "top1", sets).estimate(view)
        if not chosen.estimates:
            continue
        for way, result in ((VALIDATION, chosen), (ORACLE, oracle(view, sets))):
            if result is None or not result.estimates:
                continue
            mean, gap = result.pooled(), math.nan
            if way == ORACLE:
                gap = mean.effect - chosen.pooled().effect
            yield {
                "where": where,
                "selected_on": way,
                **numbers_of(mean, "effect", "low", "high"),
                "gap": gap,
                "n_tasks": len(result.estimates),
                **numbers_of(mean, "n_seeds", "n_groups"),
                "note": ORACLE_NOTE if way == ORACLE else CONFIRM_NOTE,
                "cells": " ".join(result.cells),
            }


@table(
    "Had the baseline had fewer trials",
    "Validation top-1 of a method's winner minus FT's expected best of n trials, mean over tasks, in points.",
    ["scope", "method", "ft_trials"],
    columns={"gain": points(), "inflation": points()},
    unwritten=("cells",),
)
def one_trial(findings: Findings) -> Iterator[TableRow]:
    """A method minus FT on validation when FT has fewer trials, mean over tasks.

    One row per scope, method and number n of FT's trials. The method has as many trials as both sides have on every
    task; FT has its expected best of n trials. The last row compares equal numbers of trials, and ``inflation`` is the
    difference to it.
    """
    found = trials.frame(findings)
    if not found.empty:
        yield from fewer_trials(found)


def fewer_trials(trials: pd.DataFrame) -> Iterator[TableRow]:
    """The rows of the table ``one_trial``. trials: the table of that name, with a row or more."""
    for (scope, scale), of_scope in trials.groupby(["scope", "scale"], sort=False):
        expected = _expected_best(of_scope)
        if FT.method not in expected.index:
            continue
        of_ft = pd.DataFrame(expected.xs(FT.method))
        for method in sorted(of_scope["method"].unique()):
            ours = pd.DataFrame(expected.xs(method))
            both = ours.index.intersection(of_ft.index)
            if method == FT.method or both.empty:
                continue
            ours, theirs = ours.loc[both].dropna(axis=1), of_ft.loc[both].dropna(axis=1)
            cells = " ".join(of_scope.loc[of_scope["method"] == method, "cell"])
            most = min(ours.shape[1], theirs.shape[1])
            gains = ours[most].mean() - theirs.mean()
            for n in range(1, most + 1):
                numbers = {"gain": gains[n], "inflation": gains[n] - gains[most], "n_tasks": len(both)}
                named = {"scope": scope, "scale": scale, "method": method, "ft_trials": n}
                yield {**named, **numbers, "selected_on": VALIDATION, "cells": cells}


def _expected_best(trials: pd.DataFrame) -> pd.DataFrame:
    """(method and task, n) the expected best of n = 1, 2, ... trials, the mean over searches that have so many."""
    rows = {}
    for (method, task, search), scores in trials.groupby(["method", "task", "search"])["val/top1"]:
        rows[method, task, search] = pd.Series(dict(enumerate(expected_best(scores.tolist()), start=1)))
    curves = pd.DataFrame(rows).T.rename_axis(["method", "task", "search"])
    of_task = curves.groupby(["method", "task"])
    return of_task.mean().where(of_task.count().eq(of_task.size(), axis=0))
