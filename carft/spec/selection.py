"""Model selection as pure functions of records. Validation decides; test numbers are never looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """What selection may know of a finished search cell."""

    cell: str
    trial: int
    metrics: Mapping[str, float]
    full_budget: bool = True


def best(candidates: Sequence[Candidate]) -> Candidate | None:
    """The first of :func:`ranked`; None if empty."""
    return next(iter(ranked(candidates)), None)


def enough(trials: int) -> int:
    """How many of a study's trials must have finished for a winner to be chosen: half of them, rounded up."""
    return max(1, math.ceil(trials / 2))


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Highest val/top1 first, then lowest val/loss, then lowest trial number, among cells of full budget."""
    finished = [c for c in candidates if c.full_budget]
    return sorted(finished, key=lambda c: (-c.metrics["val/top1"], c.metrics["val/loss"], c.trial))


def best_alpha(curve: Mapping[float, Mapping[str, float]]) -> float:
    """WiSE-FT's alpha by val/top1; ties go to the alpha nearest 0.5, then to the smaller one.

    curve: alpha -> metrics of the interpolated model. Raises ``ValueError`` when empty.
    """
    return min(curve, key=lambda alpha: (-curve[alpha]["val/top1"], abs(alpha - 0.5), alpha))
