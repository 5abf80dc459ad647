"""Spread of estimates over tasks against sampling noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.stats.intervals import Estimate, pooled

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
