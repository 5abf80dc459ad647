"""Ranks and order statistics: multiple testing, correlations over tasks, the best of n."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.judge.estimate import LEVEL, ROUNDING

#: one-sided level of a verdict, that of a 95 % interval
ONE_SIDED = 0.025


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(order))
    others = np.arange(len(order), 0, -1)  # how many are left at each step
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, others * np.asarray(p_values)[order]))
    return adjusted.tolist()


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation with a 95 % interval (Fisher's z with Bonett and Wright's variance) and a permutation p.

    p: two-sided, over all pairings, or 999 seeded ones where there are more.
    """

    value: float
    low: float
    high: float
    p: float


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    """Of two lists of equal length; NaN interval below four pairs or where one side is constant."""
    count = len(first)
    if count < 4 or len(set(first)) < 2 or len(set(second)) < 2:
        return RankCorrelation(math.nan, math.nan, math.nan, math.nan)
    value = float(stats.spearmanr(first, second).statistic)
    # at 1 and -1, where z is infinite, the inner bound is that of one swapped pair of neighbours
    near = value
    if abs(value) >= 1 - ROUNDING:
        near = math.copysign(1 - 6 * 2 / (count * (count**2 - 1)), value)
    half = stats.norm.ppf((1 + LEVEL) / 2) * math.sqrt((1 + near**2 / 2) / (count - 3))
    low, high = math.tanh(math.atanh(near) - half), math.tanh(math.atanh(near) + half)
    if value <= ROUNDING - 1:
        low = -1.0
    if value >= 1 - ROUNDING:
        high = 1.0
    ranks = stats.rankdata(second)
    test = stats.permutation_test(
        (stats.rankdata(first),),
        lambda paired: np.corrcoef(paired, ranks)[0, 1],
        permutation_type="pairings",
        n_resamples=999,
        rng=np.random.default_rng(0),
    )
    return RankCorrelation(value, low, high, float(test.pvalue))


def expected_best(values: Sequence[float]) -> list[float]:
    """Expected maximum of n values drawn without replacement, for n = 1 .. len(values).

    The value of rank r (from 0) is the largest of n in C(r, n - 1) of C(count, n) draws. Each share follows from that
    for n - 1, so that none overflows.
    """
    count, ranked = len(values), np.sort(values)
    rank, share = np.arange(count), np.full(count, 1 / count)
    expected = [float(share @ ranked)]
    for n in range(1, count):
        share = share * ((rank - n + 1) * (n + 1) / (n * (count - n)))
        expected.append(float(share @ ranked))
    return expected
