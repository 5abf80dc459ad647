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
from reports.claims.claim import Weakness
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
        alpha = ONE_SIDED
        if len(deciding) > 1:
            alpha = untailed(ONE_SIDED / len(deciding))
        return max(part.estimate.power(-part.assumed, alpha) for part in opposed)
    by_tasks: dict[tuple[str, ...], float] = {}
    for part in deciding:
        by_tasks[part.tasks] = min(part.estimate.power(part.assumed), by_tasks.get(part.tasks, 1.0))
    return math.prod(by_tasks.values())


@dataclass(frozen=True)
class Needed:
    """The least number of replicates, or of times the groups, that shows an effect in 80 % of repetitions.

    None where no number that sentences name does. is_together: both at once; without groups even they do not show it.
    """

    replicates: int | None
    groups: int | None
    is_together: bool
    are_searches: bool
    """Whether replicates are searches, and not seeds."""


@dataclass(frozen=True)
class TooSmall(Weakness):
    """The assumed effects of the deciding parts would hardly show."""

    deciding: tuple[Part, ...]
    power: float
    needed: Needed


def too_small(deciding: Sequence[Part], power: float) -> TooSmall:
    """How many seeds or images would show the assumed effects in 80 % of repetitions. The numbers are extrapolated."""

    def shown(seeds: float, groups: float) -> float:
        return claim_power([replace(part, estimate=part.estimate.scaled(seeds, groups)) for part in deciding])

    fewest_replicates = min((part.estimate for part in deciding), key=lambda one: one.replicates)
    return TooSmall(tuple(deciding), power, needed(shown, fewest_replicates))


def needed(shown: Callable[[float, float], float], now: Estimate) -> Needed:
    """What it takes for ``shown``, the power at so many times the replicates and the groups, to reach 80 %.

    now: has the replicates there are.
    """
    many, times, are_searches = now.replicates, range(2, MOST_GROUPS + 1), now.n_searches > 1
    seeds = fewest(range(many + 1, MOST_REPLICATES + 1), lambda n: shown(n / many, 1.0))
    groups = fewest(times, partial(shown, 1.0))
    if seeds or groups:
        return Needed(seeds, groups, False, are_searches)
    for more in (max(MORE_REPLICATES, 2 * many), max(MOST_REPLICATES, 4 * many)):
        both = fewest(times, partial(shown, more / many))
        if both is not None:
            break
    return Needed(more, both, True, are_searches)


def fewest(numbers: range, power: Callable[[int], float]) -> int | None:
    """The first of the numbers at which the power, which rises with them, reaches 80 %; None if it does at none."""
    index = bisect_left(numbers, True, key=lambda number: power(number) >= POWER)
    return numbers[index] if index < len(numbers) else None


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
        """The share of the observed variance that is not noise, at least 0; NaN where the noise is not known."""
        if math.isnan(self.noise):
            return math.nan
        if not self.observed > 0:
            return 0.0
        return max(0.0, 1 - self.noise / self.observed)

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
