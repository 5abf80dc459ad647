"""Means of estimates over tasks, which are fixed or a random sample (docs/statistics.md).

Tasks share the settings of a search, so a mean over tasks takes the larger of two terms (:func:`pooled`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.judge.estimate import Component, Estimate


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
