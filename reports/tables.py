"""Tables as data frames: pure functions of evidence and verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from carft.methods import METHODS, trained_methods
from carft.specify import command
from reports.contrasts import Contrast, every_suite, id_test
from reports.evidence import CAR_FT, FT, TABLE_ENTRIES, WISE, WISE_CAR, ZERO_SHOT, Entry, Evidence, contributions
from reports.statistics import expected_best, two_way
from reports.verdicts import Verdict


def task_table(evidence: Evidence) -> pd.DataFrame:
    """One row per task and entry: n, test_top1 with its interval, every suite, mean OOD and context recognition.

    Values are shares of 1, means over confirm seeds; low and high bound test_top1 at 95 %. A task without a test set
    has none of the three, and counts the groups of its suites.
    """
    rows = []
    for task in evidence.tasks:
        for entry in TABLE_ENTRIES:
            if cells := evidence.cells(task, entry):
                rows.append(_task_row(evidence, task, entry, cells))
    return pd.DataFrame(rows)


def _task_row(evidence: Evidence, task: str, entry: Entry, cells: Sequence[str]) -> dict[str, object]:
    sets = evidence.set_names(task)
    tested = "test" in sets
    made = contributions(evidence, cells, ["test"] if tested else sets, "top1")
    assert made is not None  # top-1 needs no context
    estimate = two_way(made, seeds_vary=_is_trained(entry))
    low, high = estimate.interval() if tested else (np.nan, np.nan)
    metrics = [evidence.metrics(cell) for cell in cells]

    def mean(name: str) -> float:
        return float(np.mean([m.get(name, np.nan) for m in metrics]))

    suites = {f"ood/{suite}": mean(f"ood/{suite}/top1") for suite in evidence.card(task).suites}
    return {
        "task": task,
        "method": entry.label,
        "scale": evidence.card(task).scale,
        "n_seeds": estimate.n_seeds,
        "n_groups": estimate.n_groups,
        "val_top1": mean("val/top1"),
        "test_top1": estimate.effect if tested else np.nan,
        "low": low,
        "high": high,
        "test_mean_per_class": mean("test/mean_per_class"),
        **suites,
        "ood/mean": mean("ood/mean/top1"),
        "context_top1": mean("test/context_top1"),
        "ood_context_top1": mean("ood/context_top1"),
        "cells": " ".join(cells),
    }


def _is_trained(entry: Entry) -> bool:
    return METHODS[entry.method].kind != "untrained"


DIFFERENCES = (
    ("CAR-FT - FT", CAR_FT, FT),
    ("FT - zero-shot", FT, ZERO_SHOT),
    ("CAR-FT - zero-shot", CAR_FT, ZERO_SHOT),
    ("WiSE(CAR-FT) - WiSE(FT)", WISE_CAR, WISE),
)


def difference_table(evidence: Evidence) -> pd.DataFrame:
    """Paired differences per task, ID and mean OOD, with intervals and the smallest visible difference."""
    rows = []
    for name, first, second in DIFFERENCES:
        for where, sets in (("ID test", id_test), ("mean OOD", every_suite)):
            for task, (estimate, cells) in Contrast(first, second, "top1", sets).per_task(evidence).items():
                low, high = estimate.interval()
                rows.append(
                    {
                        "contrast": name,
                        "where": where,
                        "task": task,
                        "effect": estimate.effect,
                        "low": low,
                        "high": high,
                        "smallest_visible": estimate.smallest_visible(),
                        "floor": estimate.floor(),
                        "n_seeds": estimate.n_seeds,
                        "n_groups": estimate.n_groups,
                        "first_hyperparameters": _tuned(evidence, task, first),
                        "second_hyperparameters": _tuned(evidence, task, second),
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
    """One row per part of a verdict."""
    rows = []
    for verdict in verdicts:
        for part in verdict.parts:
            estimate = part.estimate
            rows.append(
                {
                    "claim": verdict.claim,
                    "verdict": verdict.verdict,
                    "scale": verdict.scale,
                    "part": part.name,
                    "deciding": part.deciding,
                    "margin": part.margin,
                    "effect": estimate.effect,
                    "low": part.low,
                    "high": part.high,
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
    for task in evidence.tasks:
        for parent in trained_methods():
            for alpha in evidence.alphas():
                cells = evidence.cells(task, Entry("wise_ft", parent, alpha))
                if cells:
                    metrics = [evidence.metrics(cell) for cell in cells]
                    means = {k: float(np.mean([m.get(k, np.nan) for m in metrics])) for k in CURVE_METRICS}
                    rows.append({"task": task, "parent": parent, "alpha": alpha, "n_seeds": len(cells), **means})
    return pd.DataFrame(rows)


CURVE_METRICS = ("val/top1", "test/top1", "ood/mean/top1", "test/context_top1", "ood/context_top1")


def trial_table(evidence: Evidence) -> pd.DataFrame:
    """Every finished search trial: task, method, hyperparameters, validation metrics, and whether it won."""
    rows = []
    for study in evidence.studies:
        for trial in study["trials"]:
            if trial["cell"] in evidence.records:
                metrics = evidence.records[trial["cell"]].metrics
                rows.append(
                    {
                        "task": study["task"],
                        "method": study["method"],
                        "trial": trial["trial"],
                        **trial["parameters"],
                        "val/top1": metrics["val/top1"],
                        "val/loss": metrics["val/loss"],
                        "won": trial["cell"] == study["winner"],
                        "cell": trial["cell"],
                    }
                )
    return pd.DataFrame(rows)


def best_of_n_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Expected best validation top-1 after n trials, mean over the tasks whose studies have that many."""
    rows = []
    if trials.empty:
        return pd.DataFrame(columns=["method", "n", "expected_best", "n_tasks"])
    for method, of_method in trials.groupby("method"):
        curves = [expected_best(of_task["val/top1"].tolist()) for _, of_task in of_method.groupby("task")]
        shortest = min(map(len, curves))
        for n in range(shortest):
            values = [curve[n] for curve in curves]
            rows.append({"method": method, "n": n + 1, "expected_best": float(np.mean(values)), "n_tasks": len(values)})
    return pd.DataFrame(rows)


def context_table(evidence: Evidence) -> pd.DataFrame:
    """Context recognition per entry, known context and set: hits and images, summed over tasks and seeds."""
    rows = []
    for entry in (e for e in TABLE_ENTRIES if e.parent is None):
        for task in evidence.tasks:
            names = evidence.card(task).contexts
            for cell in evidence.cells(task, entry):
                for name in evidence.set_names(task):
                    outcome = evidence.outcomes(cell, name)
                    right = outcome.predicted_contexts == outcome.contexts
                    for k in np.unique(outcome.contexts[outcome.contexts >= 0]):
                        here = outcome.contexts == k
                        row = (entry.label, names[k], name, int(right[here].sum()), int(here.sum()))
                        rows.append(row)
    table = pd.DataFrame(rows, columns=["method", "context", "set", "hits", "images"])
    summed = table.groupby(["method", "context", "set"], sort=False, as_index=False)[["hits", "images"]].sum()
    return summed.assign(share=summed["hits"] / summed["images"])


def history_table(evidence: Evidence) -> pd.DataFrame:
    """Training curves of the confirm cells, per method and epoch: means over tasks and seeds."""
    frames = []
    for study in evidence.studies:
        for cell in study["confirm"]:
            if cell in evidence.records:
                frame = pd.DataFrame(evidence.store.history(cell))
                per_epoch = frame.groupby("epoch", as_index=False).mean(numeric_only=True)
                frames.append(per_epoch.assign(method=study["method"]))
    if not frames:
        return pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    return joined.groupby(["method", "epoch"], as_index=False).mean(numeric_only=True)


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
                "val_top1": record.metrics["val/top1"],
                "carft": versions["carft"],
                "numerics": versions["numerics"],
                "torch": versions["packages"].get("torch", ""),
                "command": command(record.cell, "again", unseal=bool(evidence.store.evaluated(record.id))),
            }
        )
    return pd.DataFrame(rows)
