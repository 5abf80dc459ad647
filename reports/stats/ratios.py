"""The ratio of two estimates with Fieller's interval (Fieller 1954)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import optimize

from reports.stats.intervals import LEVEL, Estimate, weighted_quantile

Kind = Literal["between", "outside", "any", "none"]
#: steps of half a turn in which a bound is looked for
STEPS = 500


@dataclass(frozen=True)
class Ratio:
    """A ratio and the values that its interval holds."""

    value: float
    low: float
    high: float
    kind: Kind
    """``between``: from low to high. ``outside``: up to low, and from high on. ``any``: every value; low and high are
    NaN. ``none``: there is no interval, since a standard error is missing."""


def fieller(numerator: Estimate, denominator: Estimate, difference: Estimate) -> Ratio:
    """numerator / denominator, and the values v for which the interval of numerator - v x denominator holds 0.

    difference: numerator minus denominator, measured by itself; its variances give the covariances. The interval is
    ``between`` two bounds where that of the denominator excludes 0.
    """
    n, d = numerator.effect, denominator.effect
    value = n / d if d else math.nan
    if any(math.isnan(estimate.se) for estimate in (numerator, denominator, difference)):
        return Ratio(value, math.nan, math.nan, "none")
    terms = [_Term.of(*(e.terms[source] for e in (numerator, denominator, difference))) for source in numerator.terms]

    def excess(angle: float) -> float:
        """How far 0 lies outside the interval of cos(angle) x numerator - sin(angle) x denominator."""
        variances = [term.variance(angle) for term in terms]
        reach = 0.0
        if any(variances):
            reach = float(weighted_quantile((1 + LEVEL) / 2, variances, [t.df for t in terms])) ** 2 * sum(variances)
        return (n * math.cos(angle) - d * math.sin(angle)) ** 2 - reach

    centre = math.atan2(n, d) if d > 0 else math.atan2(-n, -d)
    below, above = (_first_root(excess, centre, side) for side in (-1, 1))
    if below is None or above is None:
        return Ratio(value, math.nan, math.nan, "any")
    low, high = sorted((math.tan(below), math.tan(above)))
    is_between = -math.pi / 2 < below and above < math.pi / 2
    return Ratio(value, low, high, "between" if is_between else "outside")


@dataclass(frozen=True)
class _Term:
    """Variances of numerator and denominator from one source, and their covariance."""

    of_numerator: float
    of_denominator: float
    covariance: float
    df: float

    @staticmethod
    def of(numerator: tuple[float, float], denominator: tuple[float, float], difference: tuple[float, float]) -> _Term:
        most = math.sqrt(numerator[0] * denominator[0])
        covariance = (numerator[0] + denominator[0] - difference[0]) / 2
        df = min(numerator[1], denominator[1])
        return _Term(numerator[0], denominator[0], min(most, max(-most, covariance)), df)

    def variance(self, angle: float) -> float:
        """Of cos(angle) x numerator - sin(angle) x denominator."""
        c, s = math.cos(angle), math.sin(angle)
        return max(0.0, c * c * self.of_numerator - 2 * c * s * self.covariance + s * s * self.of_denominator)


def _first_root(excess: Callable[[float], float], centre: float, side: int) -> float | None:
    """The angle nearest to the centre on a side, within half a turn, where the excess becomes positive."""
    angles = centre + side * np.linspace(0, math.pi, STEPS + 1)
    for inside, outside in pairwise(angles):
        if excess(outside) > 0:
            return float(optimize.brentq(excess, inside, outside)) if excess(inside) < 0 else float(inside)
    return None
