"""Whether a claim can be decided at this size at all: the power of its deciding parts together, before any verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from reports.analysis.contrasts import Part
from reports.stats.intervals import POWER, Estimate
from reports.stats.power import replicates
from reports.stats.ranks import ONE_SIDED, untailed

#: below this a claim is not decidable at this size
ENOUGH = 0.20
MOST_REPLICATES = 50
MOST_GROUPS = 64
MORE_REPLICATES = 10


def claim_power(deciding: Sequence[Part]) -> float:
    """The probability that the claim comes out as the assumed effects would have it; NaN without an interval.

    All parts must show their effect at once. Tasks share nothing, so parts of different tasks multiply; parts of the
    same tasks go together, and the weakest counts, which is the most that their joint power can be. Where others report
    an effect on the other side, the claim would be contradicted, and the surest such part counts.
    """
    if not deciding or any(math.isnan(part.assumed) or math.isnan(part.estimate.se) for part in deciding):
        return math.nan
    opposed = [part for part in deciding if part.assumed < 0]
    if opposed:
        alpha = untailed(ONE_SIDED / len(deciding)) if len(deciding) > 1 else ONE_SIDED
        return max(part.estimate.power(-part.assumed, alpha) for part in opposed)
    by_tasks: dict[tuple[str, ...], float] = {}
    for part in deciding:
        by_tasks[part.tasks] = min(part.estimate.power(part.assumed), by_tasks.get(part.tasks, 1.0))
    return math.prod(by_tasks.values())


def power_sentence(deciding: Sequence[Part], power: float) -> str:
    """What was assumed, and how often it would show."""
    wanted = (part.assumed if part.reported is None else part.reported for part in deciding)
    sizes = sorted({round(abs(100 * effect), 2) for effect in wanted})
    size = f"{sizes[0]:g}" if len(sizes) == 1 else f"{sizes[0]:g} to {sizes[-1]:g}"
    whose = "that others report" if any(part.reported is not None for part in deciding) else "beyond the margin"
    where = f" in all {len(deciding)} deciding parts" if len(deciding) > 1 else ""
    share = f"{100 * power:.0f}" if power >= 0.005 or power == 0 else "less than 0.5"
    return f"A true effect of {size} points {whose}{where} would show in {share} % of repetitions."


def what_it_takes(deciding: Sequence[Part], unit: str) -> str:
    """How many seeds or images would show the assumed effects in 80 % of repetitions, extrapolated."""
    estimate = min((part.estimate for part in deciding), key=lambda one: one.replicates)

    def shown(seeds: float, groups: float) -> float:
        return claim_power([replace(part, estimate=part.estimate.scaled(seeds, groups)) for part in deciding])

    return needed(shown, estimate, unit)


def needed(shown: Callable[[float, float], float], now: Estimate, unit: str) -> str:
    """The least number of replicates, of groups, or of both, at which ``shown`` reaches 80 %, in a sentence.

    shown: power at so many times the replicates and the groups. now: has the replicates there are. unit: what a group
    is called.
    """
    many, kind = now.replicates, replicates(now)
    seeds = next((n for n in range(many + 1, MOST_REPLICATES + 1) if shown(n / many, 1.0) >= POWER), None)
    groups = next((k for k in range(2, MOST_GROUPS + 1) if shown(1.0, k) >= POWER), None)
    ways = [f"{seeds} {kind}"] * (seeds is not None) + [f"{groups} times the {unit}s"] * (groups is not None)
    if ways:
        return f"To show it in 80 % of repetitions would take about {', or '.join(ways)}."
    for more in (max(MORE_REPLICATES, 2 * many), max(MOST_REPLICATES, 4 * many)):
        both = next((k for k in range(2, MOST_GROUPS + 1) if shown(more / many, k) >= POWER), None)
        if both is not None:
            return f"To show it in 80 % of repetitions would take about {more} {kind} and {both} times the {unit}s."
    return f"{more} {kind} and {MOST_GROUPS} times the {unit}s would not show it in 80 % of repetitions."
