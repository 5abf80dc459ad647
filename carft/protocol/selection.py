"""Model selection as pure functions of validation metrics. Test metrics are never used."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: the metrics that select
DECIDING = ("val/top1", "val/loss")


@dataclass(frozen=True)
class Candidate:
    """A finished search cell."""

    cell: str
    """Id of the cell."""
    trial: int
    """Number of the trial in its study, from 0."""
    metrics: Mapping[str, float]
    """Validation metrics, with ``val/top1`` and ``val/loss``."""


def best(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the first of :func:`ranked`; None if it is empty."""
    return next(iter(ranked(candidates)), None)


def min_finished_trials(trials: int, pruned: int = 0) -> int:
    """Return how many of a study's trials must be finished, once none is left to run, for a winner: half.

    pruned: those that were stopped, which count for that half; one must be finished.
    """
    return max(1, math.ceil(trials / 2) - pruned)


def averaged(own: Sequence[Candidate], families: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Return the candidates of one task with the mean metrics of their trials over all tasks of a family.

    A trial that did not finish on every task is left out.

    Args:
        own: The candidates of the task.
        families: The candidates of every task of the family, this one included, with equal settings in equal trials.
    """
    of_tasks = []  # trial -> metrics, of each task
    for candidates in families:
        of_tasks.append({candidate.trial: candidate.metrics for candidate in candidates})
    averages = []
    for candidate in own:
        measured = []  # the metrics of its trial, of each task where this finished
        for of_task in of_tasks:
            if candidate.trial in of_task:
                measured.append(of_task[candidate.trial])
        if len(measured) < len(of_tasks):
            continue
        metrics = {}
        for name in DECIDING:
            # a sum that does not depend on the order of the tasks
            metrics[name] = math.fsum(of_one[name] for of_one in measured) / len(of_tasks)
        averages.append(Candidate(candidate.cell, candidate.trial, metrics))
    return averages


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Sort cells by highest val/top1, then lowest val/loss, then lowest trial number."""
    return sorted(candidates, key=lambda c: (-c.metrics["val/top1"], c.metrics["val/loss"], c.trial))


def best_alpha(curve: Mapping[float, Mapping[str, float]]) -> float:
    """Return WiSE-FT's alpha of the highest val/top1. Ties: the alpha nearest 0.5, then the smaller one.

    curve: alpha -> metrics of the interpolated model. Raises ``ValueError`` when empty.
    """
    return min(curve, key=lambda alpha: (-curve[alpha]["val/top1"], abs(alpha - 0.5), alpha))
