"""Intervals for paired differences when both seeds and groups vary (docs/statistics.md).

The resampling unit of images is the group (in the icons world the drawing): renderings of one drawing are not
independent. Seeds and groups are crossed. The variance of a mean difference is the sum of a seed term and a group
term. Both terms contain the interaction, which is counted once. Each term has a t quantile of its own.

With several searches of a study, a search takes the place of a seed: the mean over its confirm seeds is one
replicate. The term then covers the variation between searches as well. Tasks share the settings of a search, so a mean
over tasks takes the larger of two terms (:func:`pooled`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

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
#: steps of half a turn in which a bound of a ratio is looked for
STEPS = 500


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


@dataclass(frozen=True)
class Contributions:
    """Contributions of seeds and groups to a metric."""

    values: np.ndarray
    """(S, G); the sum of a row over groups is the metric of that seed."""
    strata: np.ndarray
    """(G,) label of each group's stratum. Groups are exchangeable within a stratum only."""
    weights: np.ndarray
    """(G,) weight of each group in the metric."""
    images: np.ndarray
    """(G,) images of each group."""
    searches: np.ndarray
    """(S,) search of each row."""
    names: np.ndarray | None = None
    """(G,) name of each group, the same in all tasks that hold it; None where no other task can hold it."""

    @property
    def n_searches(self) -> int:
        """Number of searches of the rows."""
        return len(np.unique(self.searches))

    def by_search(self) -> Contributions:
        """One row per search, the mean over its seeds; unchanged for a single search."""
        if self.n_searches < 2:
            return self
        rows = [self.values[self.searches == search].mean(0) for search in np.unique(self.searches)]
        return replace(self, values=np.stack(rows), searches=np.arange(len(rows)))

    def residuals(self, members: np.ndarray) -> np.ndarray:
        """(S, g) of one stratum: contributions minus the stratum's mean times the weight of the group.

        This is the linearised variance of a ratio: a group of twice the weight adds twice as much to any metric.
        """
        part, share = self.values[:, members], self.weights[members]
        return part - part.sum(1, keepdims=True) * (share / share.sum())

    def floor(self, members: np.ndarray) -> float:
        """Lower bound of the group term of one stratum.

        It is the term with one image for and one image against in every seed. A sample without disagreement does not
        show that there is none (Agresti and Min 2005, for paired hits).
        """
        return 2 * float(self.weights[members].sum() / self.images[members].sum()) ** 2


def two_way(contributions: Contributions, seeds_vary: bool = True) -> Estimate:
    """The effect with a seeds term and a groups term; without a seeds term where the metric does not depend on seeds.

    The seeds term is the variance over seeds of the metric, divided by S. The groups term is, per stratum of n groups,
    n times the variance over groups of the seed-averaged residuals, at least the floor. The interaction is computed
    from the residuals minus their row and column means. With several searches a search takes the place of a seed.
    """
    n_seeds, searches = len(contributions.values), contributions.n_searches
    contributions = contributions.by_search()
    values = contributions.values
    by_seed = values.sum(1)
    seeds = len(by_seed)
    crossed = seeds_vary and seeds > 1
    groups, shared, by_group = [], 0.0, dict[str, float]()
    for stratum in np.unique(contributions.strata):
        members = np.flatnonzero(contributions.strata == stratum)
        count = len(members)
        if count < 2:
            groups.append(Component(math.nan, count - 1, "groups"))
            continue
        part, least = contributions.residuals(members), contributions.floor(members)
        spread, own = float(group_term(part)), 0.0
        if spread < least:
            spread = least
        elif crossed:
            own = float(interaction_term(part))
        groups.append(Component(spread, count - 1, "groups", own))
        shared += own
        if contributions.names is not None:
            scaled = math.sqrt(count / (count - 1)) * part.mean(0)
            by_group |= zip(contributions.names[members].tolist(), scaled.tolist(), strict=True)
    components, by_search = groups, ()
    if seeds_vary:
        over_seeds, source = math.nan, "seeds"
        if seeds > 1:
            over_seeds = float(seed_term(values))
        if searches > 1:
            source, by_search = "searches", tuple(by_seed.tolist())
        components = [Component(over_seeds, seeds - 1, source, shared), *groups]
    return Estimate(
        float(by_seed.mean()),
        tuple(components),
        n_seeds,
        values.shape[1],
        n_searches=searches,
        by_search=by_search,
        by_group=by_group,
    )


def seed_term(values: np.ndarray) -> np.ndarray:
    """Variance over seeds of the metric, over their number. values: (..., S, G)."""
    return values.sum(-1).var(-1, ddof=1) / values.shape[-2]


def group_term(values: np.ndarray) -> np.ndarray:
    """Groups times the variance over groups of the seed-averaged contributions, in one stratum. values: (..., S, G)."""
    return values.shape[-1] * values.mean(-2).var(-1, ddof=1)


def interaction_term(values: np.ndarray) -> np.ndarray:
    """The part of both terms that is interaction, in one stratum. values: (..., S, G) with S and G at least 2."""
    seeds, groups = values.shape[-2:]
    rows, columns = values.mean(-1, keepdims=True), values.mean(-2, keepdims=True)
    rest = values - rows - columns + rows.mean(-2, keepdims=True)
    return groups * (rest**2).sum((-2, -1)) / ((seeds - 1) * (groups - 1)) / seeds


def pooled(estimates: Sequence[Estimate]) -> Estimate:
    """Unweighted mean of the estimates of a fixed set of tasks.

    Groups of different tasks are independent, and so are seeds; where tasks share groups (``by_group``), their
    covariance is added, and a negative one counts as 0. Searches are not: the tasks of a search try the same
    settings. So the term of searches is the larger of two mean squares: that of searches that are independent between
    tasks, and that of the means over tasks within a search. It has R - 1 degrees of freedom for R searches, the fewest
    of a task. Its ``interaction`` is the sum over tasks in either case.
    """
    apart = _mean_of_independent(estimates)
    shared = min(len(estimate.by_search) for estimate in estimates)
    if shared < 2:
        return apart
    means = np.mean([estimate.by_search[:shared] for estimate in estimates], axis=0)
    within_tasks = interaction = 0.0
    others = []
    for component in apart.components:
        if component.source == "searches":
            within_tasks += component.variance
            interaction += component.interaction
        else:
            others.append(component)
    between_means = float(means.var(ddof=1)) / len(means)
    larger = max(within_tasks, between_means)
    term = Component(larger, len(means) - 1, "searches", interaction)
    return replace(apart, components=(term, *others), by_search=tuple(means.tolist()))


def _mean_of_independent(estimates: Sequence[Estimate]) -> Estimate:
    """Unweighted mean of estimates that share groups at most."""
    squared = len(estimates) ** 2
    components, dfs_of_groups = [], []
    for estimate in estimates:
        for c in estimate.components:
            components.append(Component(c.variance / squared, c.df, c.source, c.interaction / squared))
            if c.source == "groups":
                dfs_of_groups.append(c.df)
    covariance = _covariance_of_groups(estimates)
    if covariance > 0:
        components.append(Component(covariance / squared, min(dfs_of_groups), "groups"))
    counts = np.array([(estimate.n_seeds, estimate.n_searches, estimate.n_groups) for estimate in estimates])
    n_seeds, n_searches, _ = counts.min(0).tolist()
    n_groups = int(counts[:, 2].sum())
    effect = float(np.mean([estimate.effect for estimate in estimates]))
    return Estimate(effect, tuple(components), n_seeds, n_groups, n_searches=n_searches)


def _covariance_of_groups(estimates: Sequence[Estimate]) -> float:
    """Return the sum of the covariances of all ordered pairs of estimates that share groups; 0 without any."""
    together, alone = defaultdict[str, float](float), 0.0
    for estimate in estimates:
        for group, value in estimate.by_group.items():
            together[group] += value
            alone += value**2
    squares = [value**2 for value in together.values()]
    return sum(squares) - alone


def across(estimates: Sequence[Estimate]) -> Estimate:
    """Unweighted mean with tasks as a random sample: a t interval over the tasks' effects.

    The interval covers all variation between tasks, that of their searches included.
    """
    effects = np.array([estimate.effect for estimate in estimates])
    count, spread = len(effects), math.nan
    if count > 1:
        spread = float(effects.var(ddof=1)) / count
    within = pooled(estimates)
    parts = (Component(spread, count - 1, "tasks"),)
    return Estimate(within.effect, parts, within.n_seeds, within.n_groups, n_searches=within.n_searches)


def smallest_difference(groups: int) -> float:
    """The smallest difference that a paired test on so many groups detects in 80 % of repetitions, a share of 1.

    It is what a test can show at best, before anything is trained: seeds do not vary, and all groups on which two
    methods differ speak for one of them. Their share is then the difference d itself, with the variance d (1 - d). The
    images of a group count as one. NaN for fewer than two groups.
    """
    per_spread = Estimate(0.0, (Component(1 / groups, groups - 1, "groups"),), 1, groups).smallest_visible() ** 2
    return per_spread / (1 + per_spread)


@dataclass(frozen=True)
class Ratio:
    """A ratio and the values that its interval holds."""

    value: float
    low: float
    high: float
    kind: Literal["between", "outside", "any", "none"]
    """``between``: from low to high. ``outside``: up to low, and from high on. ``any``: every value; low and high are
    NaN. ``none``: there is no interval, since a standard error is missing."""


def fieller(numerator: Estimate, denominator: Estimate, difference: Estimate) -> Ratio:
    """numerator / denominator, and the values v for which the interval of numerator - v x denominator holds 0.

    This is Fieller's interval (Fieller 1954). difference: numerator minus denominator, measured by itself; its
    variances give the covariances. The interval is ``between`` two bounds where that of the denominator excludes 0.
    """
    n, d = numerator.effect, denominator.effect
    value = math.nan
    if d:
        value = n / d
    if math.isnan(numerator.se + denominator.se + difference.se):
        return Ratio(value, math.nan, math.nan, "none")
    sources = list({**numerator.terms, **denominator.terms, **difference.terms})
    ours, theirs, apart = _terms(numerator, sources), _terms(denominator, sources), _terms(difference, sources)
    most = np.sqrt(ours[:, 0] * theirs[:, 0])
    covariances = np.clip((ours[:, 0] + theirs[:, 0] - apart[:, 0]) / 2, -most, most)
    degrees = np.minimum(ours[:, 1], theirs[:, 1])

    def excess(angle: float) -> float:
        """How far 0 lies outside the interval of cos(angle) x numerator - sin(angle) x denominator."""
        c, s = math.cos(angle), math.sin(angle)
        variances = np.maximum(0.0, c * c * ours[:, 0] - 2 * c * s * covariances + s * s * theirs[:, 0]).tolist()
        reach = 0.0
        if any(variances):
            reach = float(weighted_quantile((1 + LEVEL) / 2, variances, degrees)) ** 2 * sum(variances)
        return (n * c - d * s) ** 2 - reach

    sign = 1 if d > 0 else -1
    centre = math.atan2(sign * n, sign * d)
    below, above = _first_root(excess, centre, -1), _first_root(excess, centre, 1)
    if below is None or above is None:
        return Ratio(value, math.nan, math.nan, "any")
    low, high = sorted((math.tan(below), math.tan(above)))
    if -math.pi / 2 < below and above < math.pi / 2:
        return Ratio(value, low, high, "between")
    return Ratio(value, low, high, "outside")


def _terms(estimate: Estimate, sources: Sequence[str]) -> np.ndarray:
    """(sources, 2) variance and degrees of freedom of each source; 0 and infinity of one that the estimate lacks."""
    return np.array([estimate.terms.get(source, (0.0, math.inf)) for source in sources])


def _first_root(excess: Callable[[float], float], centre: float, side: int) -> float | None:
    """The angle nearest to the centre on a side, within half a turn, where the excess becomes positive."""
    angles = centre + side * np.linspace(0, math.pi, STEPS + 1)
    for inside, outside in pairwise(angles):
        if excess(outside) > 0:
            if excess(inside) < 0:
                return float(optimize.brentq(excess, inside, outside))
            return float(inside)
    return None
