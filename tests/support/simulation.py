"""Planted contributions and what the interval's formula makes of them, many runs at once."""

from __future__ import annotations

import math

import numpy as np

from reports.judge.estimate import net, weighted_quantile
from reports.judge.intervals.two_way import Contributions, group_term, interaction_term, seed_term


def contributions_of(
    values: np.ndarray,
    strata: np.ndarray,
    weights: np.ndarray | None = None,
    images: np.ndarray | None = None,
    searches: np.ndarray | None = None,
) -> Contributions:
    """Contributions by default of equal weights, of so many images that no term has a floor, and of one search."""
    seeds, groups = values.shape
    weights = np.full(groups, 1 / groups) if weights is None else weights
    images = np.full(groups, math.inf) if images is None else images
    return Contributions(values, strata, weights, images, np.ones(seeds) if searches is None else searches)


def simulated(groups: int, seeds: int, ratio: float, mixed: float, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Contributions (runs, S, G) whose metric has mean 0 and a group term of standard deviation 1.

    ratio: standard deviation of the seed term over that of the group term. mixed: of the interaction over the larger.
    """
    by_group = rng.normal(0, math.sqrt(groups), (runs, 1, groups))
    by_seed = rng.normal(0, ratio * math.sqrt(seeds), (runs, seeds, 1))
    both = rng.normal(0, 1, (runs, seeds, groups)) * mixed * max(1.0, ratio) * math.sqrt(seeds * groups)
    return (by_group + by_seed + both) / groups


def simulated_hits(groups: int, seeds: int, drift: float, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Contributions (runs, S, G) of paired hits of two equal models: each image is -1, 0 or 1, four images a group.

    drift: how far a seed moves a model on all images at once; the ease of a group has standard deviation 1.
    """
    ease = rng.normal(0, 1, (runs, 1, groups, 1))
    moved = rng.normal(0, 1, (2, runs, seeds, 1, 1)) * drift
    noise = rng.normal(0, 0.8, (2, runs, seeds, groups, 4))
    first, second = (ease + moved[side] + noise[side] > 0 for side in (0, 1))
    return (first.mean(-1) - second.mean(-1)) / groups


def exceeded(values: np.ndarray, alpha: float) -> float:
    """How often the one-sided bound at level alpha lies beyond 0, the truth, the mean of both sides.

    The formula of ``Estimate`` on many runs at once.
    """
    seeds, groups = values.shape[-2:]
    shared = interaction_term(values)
    terms = net(seed_term(values), shared), net(group_term(values), shared)
    half = weighted_quantile(1 - alpha, terms, (seeds - 1, groups - 1)) * np.sqrt(sum(terms))
    return float(np.mean(np.abs(values.sum(-1).mean(-1)) > half)) / 2


def covered(values: np.ndarray) -> float:
    """Share of runs whose 95 % interval holds 0, the truth."""
    return 1 - 2 * exceeded(values, 0.025)
