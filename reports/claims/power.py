"""What an experiment can show: the power of a claim, what more seeds or images would buy, spread against noise."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from reports.analysis.contrasts import Part
from reports.stats.intervals import POWER, Estimate, pooled
from reports.stats.ranks import ONE_SIDED, untailed

#: below this a claim is not decidable at this size
ENOUGH = 0.20
#: numbers of seeds or searches, and times the groups, that sentences name
MORE_REPLICATES, MOST_REPLICATES = 10, 50
MORE_GROUPS, MOST_GROUPS = 4, 64
#: level of the test that a spread over tasks is more than noise
NOISE_LEVEL = 0.05


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
        alpha = untailed(ONE_SIDED / len(deciding)) if len(deciding) > 1 else ONE_SIDED
        return max(part.estimate.power(-part.assumed, alpha) for part in opposed)
    by_tasks: dict[tuple[str, ...], float] = {}
    for part in deciding:
        by_tasks[part.tasks] = min(part.estimate.power(part.assumed), by_tasks.get(part.tasks, 1.0))
    return math.prod(by_tasks.values())


def weak_words(deciding: Sequence[Part], power: float, unit: str) -> str:
    """What was assumed, how rarely it would show, and how many seeds or images would show it in 80 % of repetitions.

    unit: what a group is called. The numbers are extrapolated.
    """
    wanted = (part.assumed if part.reported is None else part.reported for part in deciding)
    sizes = sorted({round(abs(100 * effect), 2) for effect in wanted})
    size = f"{sizes[0]:g}" if len(sizes) == 1 else f"{sizes[0]:g} to {sizes[-1]:g}"
    whose = "that others report" if any(part.reported is not None for part in deciding) else "beyond the margin"
    where = f" in all {len(deciding)} deciding parts" if len(deciding) > 1 else ""
    share = f"{100 * power:.0f}" if power >= 0.005 or power == 0 else "less than 0.5"

    def shown(seeds: float, groups: float) -> float:
        return claim_power([replace(part, estimate=part.estimate.scaled(seeds, groups)) for part in deciding])

    estimate = min((part.estimate for part in deciding), key=lambda one: one.replicates)
    return (
        f"A true effect of {size} points {whose}{where} would show in {share} % of repetitions. "
        f"{needed_words(shown, estimate, unit)}"
    )


def needed_words(shown: Callable[[float, float], float], now: Estimate, unit: str) -> str:
    """The least number of replicates, of groups, or of both, at which ``shown`` reaches 80 %, in a sentence.

    shown: power at so many times the replicates and the groups. now: has the replicates there are. unit: what a group
    is called.
    """
    many, kind, times = now.replicates, replicate_words(now), range(2, MOST_GROUPS + 1)
    seeds = fewest(range(many + 1, MOST_REPLICATES + 1), lambda n: shown(n / many, 1.0))
    groups = fewest(times, partial(shown, 1.0))
    ways = [f"{seeds} {kind}"] * (seeds is not None) + [f"{groups} times the {unit}s"] * (groups is not None)
    if ways:
        return f"To show it in 80 % of repetitions would take about {', or '.join(ways)}."
    for more in (max(MORE_REPLICATES, 2 * many), max(MOST_REPLICATES, 4 * many)):
        both = fewest(times, partial(shown, more / many))
        if both is not None:
            return f"To show it in 80 % of repetitions would take about {more} {kind} and {both} times the {unit}s."
    return f"{more} {kind} and {MOST_GROUPS} times the {unit}s would not show it in 80 % of repetitions."


def fewest(numbers: range, power: Callable[[int], float]) -> int | None:
    """The first of the numbers at which the power, which rises with them, reaches 80 %; None if it does at none."""
    index = bisect_left(numbers, True, key=lambda number: power(number) >= POWER)
    return numbers[index] if index < len(numbers) else None


def power_words(estimate: Estimate, unit: str) -> str:
    """The smallest effect that the estimate detects, now and with more seeds or groups; empty without an interval.

    unit: name of a group.
    """
    kind, many, now = replicate_words(estimate), estimate.replicates, estimate.smallest_visible()
    if not now > 0:
        return ""
    ten = max(MORE_REPLICATES, 2 * many)
    with_seeds, with_groups = estimate.scaled(seeds=ten / many), estimate.scaled(groups=MORE_GROUPS)
    return (
        f"With {many} {kind} and {estimate.n_groups} {unit}s it sees {_points(now)} points; {ten} {kind} would see "
        f"{_points(with_seeds.smallest_visible())}, {MORE_GROUPS} times the {unit}s "
        f"{_points(with_groups.smallest_visible())}."
    )


def replicate_words(estimate: Estimate) -> str:
    """``searches`` if there are several, else ``seeds``."""
    return "searches" if estimate.n_searches > 1 else "seeds"


def _points(value: float) -> str:
    return f"{100 * value:.1f}" if value >= 0.001 else f"{100 * value:.2f}"


@dataclass(frozen=True)
class Spread:
    """The variance of estimates over tasks, and the part of it that is sampling noise."""

    observed: float
    """Sample variance of the estimates."""
    noise: float
    """Mean of their squared standard errors; NaN where one is missing."""
    count: int
    """Number of tasks."""
    df: float
    """Satterthwaite's degrees of freedom of the noise."""

    @staticmethod
    def of(estimates: Sequence[Estimate]) -> Spread:
        """The spread of these estimates."""
        observed = float(np.var([e.effect for e in estimates], ddof=1))
        noise = pooled(estimates).with_independent_searches()
        return Spread(observed, float(np.mean([e.se**2 for e in estimates])), len(estimates), noise.df)

    @property
    def reliability(self) -> float:
        """The share of the observed variance that is not noise, at least 0."""
        return max(0.0, 1 - self.noise / self.observed) if self.observed > 0 else 0.0

    @property
    def p(self) -> float:
        """One-sided p value of the F test that the estimates differ by more than noise."""
        if not self.noise > 0:
            return math.nan if math.isnan(self.noise) else float(self.observed == 0)
        return float(stats.f.sf(self.observed / self.noise, self.count - 1, self.df))

    @property
    def is_noise(self) -> bool:
        """Whether the spread is no larger than sampling noise; also true where p is NaN."""
        return not self.p < NOISE_LEVEL

    def shown(self, spread: float) -> float:
        """The power of the F test for a true standard deviation over tasks of this size."""
        if not self.noise > 0:
            return float(self.noise == 0 and spread > 0)
        critical = stats.f.isf(NOISE_LEVEL, self.count - 1, self.df)
        return float(stats.f.sf(critical * self.noise / (self.noise + spread**2), self.count - 1, self.df))
