"""Estimates when both seeds and groups vary (docs/statistics.md).

The resampling unit of images is the group (in the icons world the drawing): renderings of one drawing are not
independent. Seeds and groups are crossed. The variance of a mean difference is the sum of a seed term and a group
term. Both terms contain the interaction, which is counted once. Each term has a t quantile of its own.

With several searches of a study, a search takes the place of a seed: the mean over its confirm seeds is one
replicate. The term then covers the variation between searches as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from reports.judge.estimate import Component, Estimate


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
