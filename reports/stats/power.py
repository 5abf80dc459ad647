"""What an experiment can show: spread over tasks against sampling noise, and the effect of more seeds or images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.stats.intervals import REPLICATES, Component, Estimate, pooled

LEVEL = 0.05


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
        return Spread(observed, float(np.mean([e.se**2 for e in estimates])), len(estimates), pooled(estimates).df)

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
        return not self.p < LEVEL

    def shown(self, spread: float) -> float:
        """The power of the F test for a true standard deviation over tasks of this size."""
        if not self.noise > 0:
            return float(self.noise == 0 and spread > 0)
        critical = stats.f.isf(LEVEL, self.count - 1, self.df)
        return float(stats.f.sf(critical * self.noise / (self.noise + spread**2), self.count - 1, self.df))


MORE_SEEDS = 10
MORE_GROUPS = 4
ENDLESS = 1e6
SEEDS_WORTH_NAMING = 50


def power_words(estimate: Estimate, unit: str = "group", margin: float = 0.0) -> str:
    """Sentences on the smallest effect that the estimate detects, and on what would detect smaller ones.

    unit: name of a group. margin: a share of 1 that the effect is compared with. Empty without a standard error.
    """
    now = estimate.smallest_visible()
    if math.isnan(now) or now == 0 or "tasks" in estimate.terms:
        return ""
    kind, many = replicates(estimate), estimate.replicates

    def visible(seeds: float = 1.0, groups: float = 1.0) -> float:
        return estimate.scaled(seeds, groups).smallest_visible()

    more = _points(visible(groups=MORE_GROUPS))
    if not set(REPLICATES) & set(estimate.terms):
        return f"It sees {_points(now)} points; {MORE_GROUPS} times the {unit}s would see {more}."
    ten = max(MORE_SEEDS, 2 * many)
    words = (
        f"With {many} {kind} and {estimate.n_groups} {unit}s it sees {_points(now)} points; "
        f"{ten} {kind} would see {_points(visible(ten / many))}, {MORE_GROUPS} times the {unit}s {more}."
    )
    size = abs(estimate.effect - margin)
    if size >= now or size == 0:
        return words
    what = "an effect of the size found" if margin == 0 else "the distance found from the margin"
    wanted = f"{what} ({_points(size)})"
    if visible(ENDLESS) > size:
        return f"{words} No number of {kind} would show {wanted}: only more {unit}s can."
    counts = range(many + 1, SEEDS_WORTH_NAMING + 1)
    enough = next((f"about {n}" for n in counts if visible(n / many) <= size), f"more than {SEEDS_WORTH_NAMING}")
    return f"{words} To show {wanted} would take {enough} {kind}."


def smallest_difference(groups: int) -> float:
    """The smallest difference that a paired test on so many groups detects in 80 % of repetitions, a share of 1.

    It is what a test can show at best, before anything is trained: seeds do not vary, and all groups on which two
    methods differ speak for one of them. Their share is then the difference d itself, with the variance d (1 - d). The
    images of a group count as one. NaN for fewer than two groups.
    """
    per_spread = Estimate(0.0, (Component(1 / groups, groups - 1, "groups"),), 1, groups).smallest_visible() ** 2
    return per_spread / (1 + per_spread)


def replicates(estimate: Estimate) -> str:
    """``searches`` if there are several, else ``seeds``."""
    return "searches" if estimate.n_searches > 1 else "seeds"


def _points(value: float) -> str:
    return f"{100 * value:.1f}" if value >= 0.001 else f"{100 * value:.2f}"
