"""The power of a claim: how often its assumed effects would show."""

import math
from collections.abc import Sequence

from reports.analysis.contrasts import Part
from reports.stats.ranks import ONE_SIDED


def claim_power(deciding: Sequence[Part]) -> float:
    """The probability that the claim comes out as the assumed effects would have it; NaN without an interval.

    All parts must show their effect at once. Powers of parts of different tasks multiply, since tasks share nothing. Of
    parts of the same tasks the smallest counts, which is the most that their joint power can be. Where others report
    effects on the other side, the claim would be contradicted, and the largest power of such a part counts.
    """
    if not deciding or any(math.isnan(part.assumed) or math.isnan(part.estimate.se) for part in deciding):
        return math.nan
    opposed = [part for part in deciding if part.assumed < 0]
    if opposed:
        alpha = ONE_SIDED / len(deciding)
        return max(part.estimate.power(-part.assumed, alpha) for part in opposed)
    by_tasks: dict[tuple[str, ...], float] = {}
    for part in deciding:
        by_tasks[part.tasks] = min(part.estimate.power(part.assumed), by_tasks.get(part.tasks, 1.0))
    return math.prod(by_tasks.values())
