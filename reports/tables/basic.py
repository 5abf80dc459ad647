"""Tables as data frames: pure functions of evidence and verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from carft.spec.cell import Cell, Reading
from carft.spec.registry import METHODS, trained_methods
from carft.spec.resolve import command
from reports.analysis.context import context_table as context_table  # listed with the other tables
from reports.analysis.contrasts import Contrast, every_suite, id_test
from reports.analysis.pairing import Mismatch, contributions
from reports.claims.verdicts import Verdict
from reports.evidence.evidence import CAR_FT, FT, TABLE_ENTRIES, VALIDATION, WISE, WISE_CAR, ZERO_SHOT, Entry, Evidence
from reports.evidence.results import finished_trials, search_of, stopped_trials
from reports.stats.intervals import Estimate, two_way
from reports.stats.ranks import expected_best_of_searches, whole_searches


def task_table(evidence: Evidence) -> pd.DataFrame:
    """One row per task and entry: n, test_top1 with its interval, every suite, mean OOD and context recognition.

    Values are shares of 1, means over confirm seeds; low and high bound test_top1 at 95 %.
    """
    rows = []
    for view in evidence.views():
        for task in view.tasks:
            for entry in TABLE_ENTRIES:
                if cells := view.cells(task, entry):
                    rows.append(_task_row(view, task, entry, cells))
    return pd.DataFrame(rows)


def _task_row(evidence: Evidence, task: str, entry: Entry, cells: Sequence[str]) -> dict[str, object]:
    estimate = _accuracy(evidence, task, entry, cells)
    low, high = estimate.interval()
    metrics = [evidence.metrics(cell) for cell in cells]

    def mean(name: str) -> float:
        return float(np.mean([m.get(name, np.nan) for m in metrics]))

    suites = {name: mean(f"{name}/top1") for name in evidence.suites(task)}
    return {
        "task": task,
        "method": entry.label,
        "scope": evidence.name,
        "scale": evidence.scale,
        "selected_on": entry.selected_on,
        "n_seeds": estimate.n_seeds,
        "n_groups": estimate.n_groups,
        "val_top1": mean("val/top1"),
        "test_top1": estimate.effect,
        "low": low,
        "high": high,
        "test_mean_per_class": mean("test/mean_per_class"),
        **suites,
        "ood/mean": mean("ood/mean/top1"),
        "context_top1": mean("test/context_top1"),
        "ood_context_top1": mean("ood/context_top1"),
        "cells": " ".join(cells),
    }


def _accuracy(evidence: Evidence, task: str, entry: Entry, cells: Sequence[str]) -> Estimate:
    """ID test accuracy; the number of groups alone where a task has suites only; nothing of different images."""
    names = evidence.set_names(task)
    has_test = "test" in names
    try:
        made = contributions(evidence, cells, ["test"] if has_test else names, "top1")
    except Mismatch:
        made = None
    if made is None or not has_test:
        return Estimate(np.nan, (), len(cells), 0 if made is None else made.values.shape[1])
    return two_way(made, seeds_vary=METHODS[entry.method].kind != "untrained")


DIFFERENCES = (
    ("CAR-FT - FT", CAR_FT, FT),
    ("FT - zero-shot", FT, ZERO_SHOT),
    ("CAR-FT - zero-shot", CAR_FT, ZERO_SHOT),
    ("WiSE(CAR-FT) - WiSE(FT)", WISE_CAR, WISE),
)


PLACES = (("ID test", id_test), ("mean OOD", every_suite))


def difference_table(evidence: Evidence) -> pd.DataFrame:
    """Paired differences per task, ID and mean OOD, with intervals and the smallest visible difference."""
    rows = []
    asked = [(*contrast, *where) for contrast in DIFFERENCES for where in PLACES]
    for view in evidence.views():
        for name, first, second, where, sets in asked:
            for task, (estimate, cells) in Contrast(first, second, "top1", sets).per_task(view).items():
                low, high = estimate.interval()
                rows.append(
                    {
                        "contrast": name,
                        "where": where,
                        "task": task,
                        "scope": view.name,
                        "scale": view.scale,
                        "selected_on": VALIDATION,
                        "effect": estimate.effect,
                        "low": low,
                        "high": high,
                        "smallest_visible": estimate.smallest_visible(),
                        "floor": estimate.floor(),
                        "n_seeds": estimate.n_seeds,
                        "n_groups": estimate.n_groups,
                        "first_hyperparameters": _tuned(view, task, first),
                        "second_hyperparameters": _tuned(view, task, second),
                        "cells": " ".join(cells),
                    }
                )
    return pd.DataFrame(rows)


def _tuned(evidence: Evidence, task: str, entry: Entry) -> str:
    """The winning hyperparameters behind an entry, in words."""
    cell = evidence.cells(task, Entry(entry.parent or entry.method))[0]
    values = evidence.records[cell].cell.hyperparameters
    return ", ".join(f"{name} {value:.1e}" for name, value in values.items()) or "-"


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per part of a verdict. low_plain, high_plain: the raw variance sum with Satterthwaite's t, to compare."""
    rows = []
    for verdict in verdicts:
        for part in verdict.parts:
            estimate = part.estimate
            rows.append(
                {
                    "claim": verdict.claim,
                    "verdict": verdict.verdict,
                    "scope": verdict.scope,
                    "scale": verdict.scale,
                    "selected_on": part.selected_on,
                    "part": part.name,
                    "deciding": part.deciding,
                    "margin": part.margin,
                    "effect": estimate.effect,
                    "low": part.low,
                    "high": part.high,
                    "low_plain": estimate.plain().interval()[0],
                    "high_plain": estimate.plain().interval()[1],
                    "df": estimate.df,
                    "smallest_visible": estimate.smallest_visible(),
                    "floor": estimate.floor(),
                    "n_tasks": len(part.tasks),
                    "n_seeds": estimate.n_seeds,
                    "n_groups": estimate.n_groups,
                }
            )
    return pd.DataFrame(rows)


def curve_table(evidence: Evidence) -> pd.DataFrame:
    """WiSE-FT curves: per task, parent and alpha, the means over seeds of val, ID and OOD top-1."""
    rows = []
    for view, task, parent in _trained_entries(evidence):
        for alpha in view.alphas():
            cells = view.cells(task, Entry("wise_ft", parent, alpha))
            if cells:
                metrics = [view.metrics(cell) for cell in cells]
                means = {k: float(np.mean([m.get(k, np.nan) for m in metrics])) for k in CURVE_METRICS}
                where = {"task": task, "parent": parent, "alpha": alpha, "scope": view.name, "scale": view.scale}
                rows.append({**where, "n_seeds": len(cells), **means, "cells": " ".join(cells)})
    return pd.DataFrame(rows)


def _trained_entries(evidence: Evidence) -> Iterator[tuple[Evidence, str, str]]:
    return ((view, task, name) for view in evidence.views() for task in view.tasks for name in trained_methods())


CURVE_METRICS = ("val/top1", "test/top1", "ood/mean/top1", "test/context_top1", "ood/context_top1")


def trial_table(evidence: Evidence) -> pd.DataFrame:
    """Every finished search trial: task, method, hyperparameters, validation metrics, and whether it won.

    given_up: how many other trials of its study were stopped early. search: there where a folder has several searches.
    """
    rows = []
    several = any(search_of(study) > 1 for view in evidence.views() for study in view.studies)
    for view in evidence.views():
        for study in view.studies:
            given_up = len(stopped_trials(study, view.store))
            for trial in finished_trials(study, view.records):
                metrics = view.records[trial.cell].metrics
                rows.append(
                    {
                        "task": study.task,
                        "method": study.method,
                        **({"search": search_of(study)} if several else {}),
                        "trial": trial.number,
                        "scope": view.name,
                        "scale": view.scale,
                        **trial.parameters,
                        "val/top1": metrics["val/top1"],
                        "val/loss": metrics["val/loss"],
                        "won": trial.cell == study.winner,
                        "given_up": given_up,
                        "selected_on": VALIDATION,
                        "cell": trial.cell,
                    }
                )
    return pd.DataFrame(rows)


def best_of_n_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Expected best validation top-1 after n trials, mean over the tasks of a scope whose studies have that many.

    Nothing for a scope in which trials were given up early.
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
    for view in evidence.views():
        for study in view.studies:
            for cell in (c for c in study.confirm if c in view.records):
                history = view.archive.history(cell)
                if history:
                    means = _per_epoch(history)
                    frames.append(means.assign(method=study.method, scope=view.name, scale=view.scale))
    if not frames:
        return pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    return joined.groupby(["scope", "scale", "method", "epoch"], as_index=False, sort=False).mean(numeric_only=True)


def _per_epoch(history: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Means over the steps of each epoch, of the values that are there; NaN where an epoch has none."""
    epochs, index = np.unique(history["epoch"], return_inverse=True)
    columns = {"epoch": epochs}
    for name, values in history.items():
        if name != "epoch":
            there = ~np.isnan(values)
            sums = np.bincount(index[there], values[there], minlength=len(epochs))
            counts = np.bincount(index[there], minlength=len(epochs))
            columns[name] = np.divide(sums, counts, out=np.full(len(epochs), np.nan), where=counts > 0)
    return pd.DataFrame(columns)


def cell_table(evidence: Evidence) -> pd.DataFrame:
    """Every cell a report may rest on, with the command that makes it again."""
    rows = []
    for record in sorted(evidence.records.values(), key=lambda r: (r.cell.task, r.cell.method, r.cell.seed, r.id)):
        versions = record.provenance
        rows.append(
            {
                "cell": record.id,
                "task": record.cell.task,
                "method": record.cell.method,
                "hyperparameters": " ".join(f"{k}={v:.4g}" for k, v in record.cell.hyperparameters.items()),
                "seed": record.cell.seed,
                "reading": _reading(record.cell),
                "val_top1": record.metrics["val/top1"],
                "carft": versions["carft"],
                "numerics": versions["numerics"],
                "torch": versions["packages"].get("torch", ""),
                "command": command(record.cell, "again", unseal=bool(evidence.archive.evaluated(record.id))),
            }
        )
    return pd.DataFrame(rows)


def _reading(cell: Cell) -> str:
    """The factors of a cell's reading that differ from the default."""
    plain = asdict(Reading())
    return ", ".join(f"{k} {v}" for k, v in asdict(cell.reading).items() if v != plain[k])


def problem_table(evidence: Evidence) -> pd.DataFrame:
    """What the folder holds and the report cannot use: torn, failed, of other numerics or data, not the largest."""
    rows = [(p.what, p.where, p.words) for p in evidence.archive.problems]
    for view in evidence.views():
        for study in view.dropped:
            rungs = f", rungs {study.rungs}" if study.rungs else ""
            words = (
                f"{study.method} on {study.task}, {len(study.trials)} trials, "
                f"{study.training.epochs} epochs{rungs}: another recipe or fewer trials than what {view.name} "
                f"reports."
            )
            rows.append(("study not used", study.id, words))
        for study in view.studies:
            opened = view.cells(study.task, Entry(study.method))
            if short := [cell for cell in study.confirm if cell not in opened]:
                words = f"{study.method} on {study.task}: {', '.join(short)} not finished, unsealed or readable."
                rows.append(("missing seed", study.id, words))
    return pd.DataFrame(list(dict.fromkeys(rows)), columns=["what", "where", "words"])
