"""The ratio of two estimates with Fieller's interval (docs/statistics.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import optimize

from reports.judge.estimate import LEVEL, Estimate, weighted_quantile

#: steps of half a turn in which a bound of a ratio is looked for
STEPS = 500


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
