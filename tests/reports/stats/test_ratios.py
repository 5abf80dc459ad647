"""Fieller's interval: the textbook formula, its three forms, and its coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reports.stats.intervals import Component, Contributions, Estimate, two_way
from reports.stats.ratios import fieller


def estimate(effect: float, variance: float, df: int = 9) -> Estimate:
    return Estimate(effect, (Component(variance, df, "seeds"),), df + 1, 0)


@pytest.mark.parametrize(
    ("numerator", "denominator", "kind"),
    [(2.0, 4.0, "between"), (2.0, -4.0, "between"), (2.0, 1.0, "outside"), (2.0, 0.2, "outside"), (0.3, 0.4, "any")],
)
def test_with_one_source_it_is_the_textbook_formula(numerator: float, denominator: float, kind: str) -> None:
    """Roots v of (n - v d)^2 = t^2 (var n - 2 v cov + v^2 var d), with t of nine degrees of freedom."""
    of_n, of_d, both = 0.25, 0.49, 0.1
    found = fieller(
        estimate(numerator, of_n),
        estimate(denominator, of_d),
        estimate(numerator - denominator, of_n + of_d - 2 * both),
    )
    assert found.kind == kind and found.value == pytest.approx(numerator / denominator)
    t = stats.t.ppf(0.975, 9)
    roots = np.roots(
        [denominator**2 - t**2 * of_d, -2 * (numerator * denominator - t**2 * both), numerator**2 - t**2 * of_n]
    )
    if kind == "any":
        assert math.isnan(found.low) and np.iscomplex(roots).all()
    else:
        assert (found.low, found.high) == pytest.approx(tuple(sorted(roots)))
    assert (kind == "between") == (abs(denominator) > t * math.sqrt(of_d))


def test_without_a_standard_error_there_is_no_interval() -> None:
    none = estimate(1.0, math.nan, 0)
    assert fieller(none, estimate(2.0, 0.1), none).kind == "none"


@pytest.mark.parametrize(("forgotten", "share"), [(1.0, 0.5), (0.3, 0.5), (0.0, 0.0)])
def test_coverage(forgotten: float, share: float) -> None:
    """Zero-shot, FT and a remedy with seeds and groups: the interval holds the share in 93 % of repetitions at least.

    forgotten: what FT loses, in standard deviations of a group. Where nothing is, no share of it is above all others.
    """
    rng, runs, seeds, groups = np.random.default_rng(int(10 * forgotten)), 400, 4, 40

    def difference(values: np.ndarray) -> Estimate:
        return two_way(Contributions(values / groups, np.zeros(groups)))

    held = 0
    for _ in range(runs):
        ease, luck = rng.normal(0, 1, groups), rng.normal(0, 0.3, (2, seeds, 1))
        tuned = ease - forgotten + luck[0] + rng.normal(0, 1, (seeds, groups))
        remedy = ease - forgotten * (1 - share) + luck[1] + rng.normal(0, 1, (seeds, groups))
        found = fieller(difference(remedy - tuned), difference(ease - tuned), difference(remedy - ease))
        inside = found.low <= share <= found.high
        held += found.kind == "any" or (inside if found.kind == "between" else not found.low < share < found.high)
    assert held / runs >= 0.93 - 2 * math.sqrt(0.95 * 0.05 / runs)
