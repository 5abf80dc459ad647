"""Search trials, what their number is worth, how winners are selected, and training curves."""

import math
from collections import defaultdict
from collections.abc import Iterator

import pandas as pd

from carft.config.cell import display_form
from carft.config.frozen_defaults import PROTOCOL
from carft.store.study_file import edges_of
from reports.judge.evidence import ORACLE, VALIDATION
from reports.judge.findings import ScopeFindings
from reports.judge.levels import chance_of_contexts
from reports.render.tables.table import (
    EFFECT,
    Column,
    TableRow,
    numbers_of,
    points,
    rows_of,
    scope_table,
    share,
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
def trials(found: ScopeFindings) -> Iterator[TableRow]:
    """Every finished search trial: task, method, hyperparameters, validation metrics, and whether it won.

    ``at_edge`` names the winner's values at the edge of their search range.
    """
    view = found.view
    for study in view.studies:
        for trial in view.finished_trials(study):
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
def pruned(found: ScopeFindings) -> Iterator[TableRow]:
    """Every pruned search trial: task, method, hyperparameters, epochs that it had, val/top1 (a share of 1)."""
    for study in found.view.studies:
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
def studies(found: ScopeFindings) -> Iterator[TableRow]:
    """One row per study. training: settings and readings other than the defaults."""
    view = found.view
    for study in view.studies:
        yield {
            "task": study.task,
            "method": study.method,
            "search": study.search,
            "n_trials": len(view.finished_trials(study)),
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
def history(found: ScopeFindings) -> Iterator[TableRow]:
    """Training curves of the confirm cells, per scope, method and epoch: means over tasks and seeds."""
    view, frames = found.view, []
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
def selection(found: ScopeFindings) -> Iterator[TableRow]:
    """CAR-FT minus FT with winners chosen on validation and, where that was run, on test, with the gap between them.

    One row per scope, set and way of selecting; effects are shares of 1. Oracle rows carry ``test (oracle)``.
    """
    for one in found.ways_to_select:
        yield {
            "where": one.where,
            "selected_on": one.selected_on,
            **numbers_of(one.mean, "effect", "low", "high"),
            "gap": one.gap,
            "n_tasks": one.n_tasks,
            **numbers_of(one.mean, "n_seeds", "n_groups"),
            "note": ORACLE_NOTE if one.selected_on == ORACLE else CONFIRM_NOTE,
            "cells": " ".join(one.cells),
        }


@scope_table(
    "Had the baseline had fewer trials",
    "Validation top-1 of a method's winner minus FT's expected best of n trials, mean over tasks, in points.",
    ["scope", "method", "ft_trials"],
    columns={"gain": points(), "inflation": points()},
    unwritten=("cells",),
)
def one_trial(found: ScopeFindings) -> Iterator[TableRow]:
    """A method minus FT on validation when FT has fewer trials, mean over tasks.

    One row per scope, method and number n of FT's trials. The method has as many trials as both sides have on every
    task; FT has its expected best of n trials. The last row compares equal numbers of trials, and ``inflation`` is the
    difference to it.
    """
    for one in found.fewer_trials:
        yield {
            "method": one.method,
            "ft_trials": one.ft_trials,
            "gain": one.gain,
            "inflation": one.inflation,
            "n_tasks": one.n_tasks,
            "selected_on": VALIDATION,
            "cells": " ".join(one.cells),
        }
