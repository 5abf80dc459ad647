"""An effect with the terms of its variance: intervals, p values and power (docs/statistics.md)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize, special, stats

LEVEL = 0.95
POWER = 0.80
#: degrees of freedom above which the t distribution is replaced by the normal
NORMAL_FROM = 1e4
#: sources whose number grows with more cells
REPLICATES = ("seeds", "searches")
#: largest variance of a level that is 0 or 1 up to the rounding of sums of weights
ROUNDING = 1e-12


@dataclass(frozen=True)
class Component:
    """One term of a variance."""

    variance: float
    """The raw estimate; NaN where it cannot be estimated."""
    df: int
    """Degrees of freedom."""
    source: str
    """seeds, searches (seeds and searches together), groups or tasks."""
    interaction: float = 0.0
    """The part of the raw estimate that is interaction of seeds (or searches) and groups."""

    @property
    def net(self) -> float:
        """The raw estimate minus half of the interaction, at least half of the raw estimate."""
        return float(net(self.variance, self.interaction))

    def scaled(self, seeds: float, groups: float) -> Component:
        """The term extrapolated to other numbers of replicates and groups, given as factors."""
        factors = dict.fromkeys(REPLICATES, (seeds, seeds)) | {"groups": (groups, groups)}
        own, times = factors.get(self.source, (1.0, 1.0))
        held = min(self.interaction, self.variance)
        main = (self.variance - held) / own
        shared = held / (seeds * groups)
        return Component(main + shared, max(1, round((self.df + 1) * times) - 1), self.source, shared)


@dataclass(frozen=True)
class Estimate:
    """An effect with its variance components."""

    effect: float
    """A share of 1, not points."""
    components: tuple[Component, ...]
    n_seeds: int
    """Confirm seeds of all searches together."""
    n_groups: int
    n_searches: int = 1
    """Independent searches; with one, no component covers the variation between searches."""
    by_search: tuple[float, ...] = ()
    """The effect in each search; empty where there is one."""
    by_group: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)
    """Group -> what it adds to the effect beyond its share, where other tasks may hold the same group; else empty."""

    @property
    def replicates(self) -> int:
        """The number of searches if there are several, else of seeds."""
        return self.n_searches if self.n_searches > 1 else self.n_seeds

    @cached_property
    def terms(self) -> dict[str, tuple[float, float]]:
        """source -> (variance, Satterthwaite's degrees of freedom within the source)."""
        by_source: dict[str, list[Component]] = defaultdict(list)
        for component in self.components:
            by_source[component.source].append(component)
        terms = {}
        for source in sorted(by_source):
            variances = [component.net for component in by_source[source]]
            dfs = [component.df for component in by_source[source]]
            terms[source] = (sum(variances), _satterthwaite(variances, dfs))
        return terms

    @property
    def se(self) -> float:
        """Standard error; NaN when a component cannot be estimated (one seed, one group)."""
        if not self.components or self.sources_without_variance:
            return math.nan
        variances, _ = zip(*self.terms.values(), strict=True)
        return math.sqrt(sum(variances))

    @property
    def sources_without_variance(self) -> set[str]:
        """The sources of which there is one member only, so that there is no standard error."""
        return {c.source for c in self.components if c.df < 1}

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom of the whole sum; infinite for a variance of zero."""
        variances = [component.net for component in self.components]
        return _satterthwaite(variances, [component.df for component in self.components])

    def quantile(self, p: float) -> float:
        """The variance-weighted mean of the terms' t quantiles (Cochran and Cox); NaN without a standard error."""
        if math.isnan(self.se):
            return math.nan
        if self.se == 0:
            return 0.0
        return float(weighted_quantile(p, *zip(*self.terms.values(), strict=True)))

    def interval(self) -> tuple[float, float]:
        """Two-sided interval; (NaN, NaN) when there is no standard error."""
        half = self.quantile((1 + LEVEL) / 2) * self.se
        return self.effect - half, self.effect + half

    def level_interval(self) -> tuple[float, float]:
        """Two-sided interval of a level, which lies in [0, 1]; (NaN, NaN) when there is no standard error.

        It is Wilson's interval for as many images as would have this standard error, with the quantile of
        :meth:`interval`. At 0 and 1 those are as many as there are groups.
        """
        share, q = min(max(self.effect, 0.0), 1.0), self.quantile((1 + LEVEL) / 2)
        if math.isnan(q):
            return math.nan, math.nan
        spread = share * (1 - share)
        if spread < ROUNDING:  # 0 or 1, but for the rounding of sums of weights
            images, q = float(self.n_groups), q or float(stats.norm.ppf((1 + LEVEL) / 2))
        elif self.se == 0:
            return share, share
        else:
            images = spread / self.se**2
        shrunk = 1 + q**2 / images
        centre = (share + q**2 / (2 * images)) / shrunk
        half = q * math.sqrt(spread / images + q**2 / (4 * images**2)) / shrunk
        return max(centre - half, 0.0), min(centre + half, 1.0)

    def p_above(self, margin: float = 0.0) -> float:
        """One-sided p value against effect <= margin; 0.5 for an exact tie without variance.

        The inverse of the interval: below 2.5 % exactly when the 95 % interval lies above the margin.
        """
        if math.isnan(self.se):
            return math.nan
        if self.se == 0 and self.effect == margin:
            return 0.5
        if self.se == 0:
            return float(self.effect < margin)
        reached = (self.effect - margin) / self.se
        smallest = 1e-15
        if abs(reached) >= self.quantile(1 - smallest):
            return float(reached < 0)
        return float(optimize.brentq(lambda p: self.quantile(1 - p) - reached, smallest, 1 - smallest, xtol=1e-12))

    def p_below(self, margin: float = 0.0) -> float:
        """One-sided p value against effect >= margin."""
        return 1.0 - self.p_above(margin)

    def smallest_visible(self) -> float:
        """The true effect that a two-sided 5 % test detects in 80 % of repetitions."""
        return (self.quantile((1 + LEVEL) / 2) + self.quantile(POWER)) * self.se

    def power(self, distance: float) -> float:
        """The probability that the interval lies beyond the margin.

        distance: of the true effect from the margin, a share of 1. The distribution is a noncentral t at
        Satterthwaite's degrees of freedom with this standard error. NaN without a standard error.
        """
        if math.isnan(self.se):
            return math.nan
        if self.se == 0:
            return float(distance > 0)
        reached, wanted = distance / self.se, self.quantile((1 + LEVEL) / 2)
        if self.df > NORMAL_FROM:
            return float(stats.norm.sf(wanted - reached))
        return float(stats.nct.sf(wanted, self.df, reached))

    def floor(self) -> str:
        """The source with the largest share of the variance: groups, seeds, searches or tasks; empty without any."""
        return max(self.terms, key=lambda source: self.terms[source][0], default="")

    def scaled(self, seeds: float = 1.0, groups: float = 1.0) -> Estimate:
        """The estimate extrapolated to other numbers of replicates and groups, given as factors."""
        parts = tuple(component.scaled(seeds, groups) for component in self.components)
        searches, confirmed, images = self.n_searches, round(self.n_seeds * seeds), round(self.n_groups * groups)
        if searches > 1:
            searches = round(searches * seeds)
        return replace(self, components=parts, n_searches=searches, n_seeds=confirmed, n_groups=images)


def net(variance: np.ndarray | float, interaction: np.ndarray | float) -> np.ndarray:
    """Terms minus half of the interaction, at least half of the terms."""
    return np.maximum(variance - np.asarray(interaction) / 2, np.asarray(variance) / 2)


def weighted_quantile(p: float, variances: Sequence[Any], dfs: Sequence[float]) -> np.ndarray:
    """Mean of the terms' t quantiles at p, weighted by their variances (numbers, or arrays of one shape)."""
    quantiles = special.stdtrit(dfs, p)  # stats.t.ppf has the same bits and takes ten times as long
    weighted = [variance * quantile for variance, quantile in zip(variances, quantiles, strict=True)]
    return np.asarray(sum(weighted) / sum(variances))


def _satterthwaite(variances: Sequence[float], dfs: Sequence[float]) -> float:
    """The degrees of freedom of a sum of variances; infinite for a variance of zero."""
    below = 0.0
    for variance, df in zip(variances, dfs, strict=True):
        if df > 0:
            below += variance**2 / df
    if below > 0:
        return float(sum(variances) ** 2 / below)
    return math.inf


def smallest_difference(groups: int) -> float:
    """The smallest difference that a paired test on so many groups detects in 80 % of repetitions, a share of 1.

    It is what a test can show at best, before anything is trained: seeds do not vary, and all groups on which two
    methods differ speak for one of them. Their share is then the difference d itself, with the variance d (1 - d). The
    images of a group count as one. NaN for fewer than two groups.
    """
    per_spread = Estimate(0.0, (Component(1 / groups, groups - 1, "groups"),), 1, groups).smallest_visible() ** 2
    return per_spread / (1 + per_spread)
