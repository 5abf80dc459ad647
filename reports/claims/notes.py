"""What stands beside verdicts: the worst of several parts, and the terms of a variance."""

import math
from typing import Any

from reports.analysis.contrasts import MEAN_OF_SUITES, MEAN_OF_TASKS, Part, Pooling
from reports.claims.claim import Verdict


def worst_of(verdict: Verdict) -> int:
    """Of how many deciding parts a verdict shows the worst; 0 where it has one part, or shows none of them."""
    if verdict.shown is None or not verdict.shown.deciding or len(verdict.deciding) < 2:
        return 0
    return len(verdict.deciding)


def mean_beside(verdict: Verdict) -> Part | None:
    """The mean over suites or tasks beside the worst part that a verdict shows; None where there is none."""
    if not worst_of(verdict) or verdict.shown is None:
        return None
    for part in verdict.parts:
        is_mean = part.place in (MEAN_OF_SUITES, MEAN_OF_TASKS) and part.pooling == Pooling.FIXED
        if is_mean and not part.deciding and part.sides == verdict.shown.sides:
            return part
    return None


def variance_rows(part: Part) -> list[dict[str, Any]]:
    """The terms of the variance of the effect, in points squared, with degrees of freedom."""
    rows = []
    for source, (variance, degrees) in part.estimate.terms.items():
        row: dict[str, Any] = {"source": source, "variance": None, "degrees of freedom": None}
        if math.isfinite(variance):
            row["variance"] = 1e4 * variance
        if math.isfinite(degrees):
            row["degrees of freedom"] = degrees
        rows.append(row)
    return rows
