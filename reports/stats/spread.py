"""Whether estimates of different tasks differ by more than sampling makes them differ, and what noise does to ranks."""

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
    """The variance of estimates over tasks, and what of it is noise: the mean of their squared standard errors.

    df: degrees of freedom of the noise, by Satterthwaite.
    """

    observed: float
    noise: float
    count: int
    df: float

    @staticmethod
    def of(estimates: Sequence[Estimate]) -> Spread:
        """NaN for noise where an estimate has no standard error."""
        observed = float(np.var([e.effect for e in estimates], ddof=1))
        return Spread(observed, float(np.mean([e.se**2 for e in estimates])), len(estimates), pooled(estimates).df)

    @property
    def reliability(self) -> float:
        """The share of the observed variance that is no noise; 0 where there is more noise than variance."""
        return max(0.0, 1 - self.noise / self.observed) if self.observed > 0 else 0.0

    @property
    def p(self) -> float:
        """One-sided p value of the F test that the estimates differ by more than noise."""
        if not self.noise > 0:
            return math.nan if math.isnan(self.noise) else float(self.observed == 0)
        return float(stats.f.sf(self.observed / self.noise, self.count - 1, self.df))

    @property
    def is_noise(self) -> bool:
        """Whether the spread is no larger than sampling noise; true also where that cannot be said."""
        return not self.p < LEVEL

    def shown(self, spread: float) -> float:
        """The probability that the F test sees a true standard deviation over tasks of this size."""
        if not self.noise > 0:
            return float(self.noise == 0 and spread > 0)
        critical = stats.f.isf(LEVEL, self.count - 1, self.df)
        return float(stats.f.sf(critical * self.noise / (self.noise + spread**2), self.count - 1, self.df))
