"""Known answers, identities and coverage of the interval."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import Contributions, across, expected_best, holm, pooled, sign_test, two_way


def simple(values: np.ndarray) -> Contributions:
    """Per-group differences (S, G), each group weighing 1 / G, in one stratum."""
    return Contributions(values / values.shape[1], np.full(values.shape[1], "test"))


def test_two_seeds_and_three_groups_by_hand() -> None:
    """Seeds term: var(0.2, 0.4) / 2 = 0.01. Groups term: var(0.1, 0.3, 0.5) / 3 = 0.04 / 3."""
    estimate = two_way(simple(np.array([[0.0, 0.2, 0.4], [0.2, 0.4, 0.6]])))
    assert estimate.effect == pytest.approx(0.3)
    variance = 0.01 + 0.04 / 3
    assert estimate.se == pytest.approx(math.sqrt(variance))
    assert estimate.df == pytest.approx(variance**2 / (0.01**2 / 1 + (0.04 / 3) ** 2 / 2))
    half = stats.t.ppf(0.975, estimate.df) * math.sqrt(variance)
    assert estimate.interval() == pytest.approx((0.3 - half, 0.3 + half))
    assert estimate.floor() == "groups"


def test_without_seed_variance_it_is_the_one_sample_t_test_over_groups() -> None:
    values = np.array([0.1, -0.2, 0.3, 0.4, 0.0])
    estimate = two_way(simple(values[None]), seeds_vary=False)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert estimate.interval() == pytest.approx((expected.low, expected.high))
    assert estimate.p_above() == pytest.approx(stats.ttest_1samp(values, 0.0, alternative="greater").pvalue)


def test_one_seed_gives_no_interval() -> None:
    assert math.isnan(two_way(simple(np.array([[0.1, 0.2, 0.3]]))).se)


def test_strata_do_not_lend_each_other_variance() -> None:
    """Two constant strata at different levels have no spread within, so no groups term."""
    values = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.5]])
    estimate = two_way(Contributions(values, np.array(["a", "a", "b", "b"])))
    assert estimate.se == 0.0
    assert estimate.interval() == (estimate.effect, estimate.effect)


def test_tasks_as_a_sample_is_the_one_sample_t_interval_over_tasks() -> None:
    rng = np.random.default_rng(1)
    tasks = [two_way(simple(rng.normal(shift, 1, (3, 20)))) for shift in (0.0, 0.5, 1.0, 2.0)]
    effects = [task.effect for task in tasks]
    expected = stats.ttest_1samp(effects, 0.0).confidence_interval(0.95)
    assert across(tasks).interval() == pytest.approx((expected.low, expected.high))
    assert across(tasks).floor() == "tasks"


def test_pooling_equal_estimates_divides_the_variance() -> None:
    one = two_way(simple(np.random.default_rng(0).normal(0, 1, (3, 20))))
    four = pooled([one] * 4)
    assert four.effect == pytest.approx(one.effect)
    assert four.se == pytest.approx(one.se / 2)
    assert four.n_groups == 80


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= min(p, 1.0) - 1e-12 for a, p in zip(adjusted, p_values, strict=True))
    assert np.all(np.diff(np.array(adjusted)[np.argsort(p_values, kind="stable")]) >= -1e-12)


def test_holm_known_answer() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_sign_test_eight_of_nine() -> None:
    assert sign_test([1.0] * 8 + [-1.0]) == pytest.approx(0.0390625)
    assert sign_test([0.0, 0.0]) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_expected_best_is_the_mean_over_all_subsets(values: list[float]) -> None:
    for n, expected in enumerate(expected_best(values), start=1):
        assert expected == pytest.approx(np.mean([max(c) for c in itertools.combinations(values, n)]))


@pytest.mark.parametrize(("groups", "seeds"), [(30, 3), (30, 5), (145, 3), (145, 5)])
@pytest.mark.parametrize(("seed_sd", "group_sd"), [(0.0, 1.0), (1.0, 0.2), (0.3, 1.0)])
def test_interval_covers(groups: int, seeds: int, seed_sd: float, group_sd: float) -> None:
    """Coverage of the planted mean is at least 93 % (two-sigma simulation error allowed) at nominal 95 %."""
    rng = np.random.default_rng([groups, seeds, int(10 * seed_sd), int(10 * group_sd)])
    runs, covered = 1500, 0
    for _ in range(runs):
        seed_effect = rng.normal(0, seed_sd / math.sqrt(groups), (seeds, 1))
        group_effect = rng.normal(0, group_sd, (1, groups))
        values = 0.5 + seed_effect + group_effect + rng.normal(0, 1.0, (seeds, groups))
        low, high = two_way(simple(values)).interval()
        covered += low <= 0.5 <= high
    assert covered / runs >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / runs)


@pytest.mark.parametrize(("seeds", "ratio", "least"), [(3, 1.0, 0.93), (3, 2.0, 0.90), (5, 2.0, 0.93)])
def test_where_seeds_dominate_without_interaction_the_interval_is_at_its_weakest(
    seeds: int, ratio: float, least: float
) -> None:
    """ratio: standard deviation of the seed term over that of the group term, each of its own mean."""
    rng = np.random.default_rng([seeds, int(ratio)])
    groups, runs, covered = 37, 2000, 0
    for _ in range(runs):
        seed_effect = rng.normal(0, ratio * math.sqrt(seeds / groups), (seeds, 1))
        low, high = two_way(simple(seed_effect + rng.normal(0, 1, (1, groups)))).interval()
        covered += low <= 0 <= high
    assert covered / runs >= least - 2 * math.sqrt(least * (1 - least) / runs)


@settings(max_examples=25)
@given(st.integers(2, 5), st.integers(2, 30), st.floats(-0.3, 0.3))
def test_shifting_every_difference_shifts_the_interval(seeds: int, groups: int, shift: float) -> None:
    values = np.random.default_rng(seeds * groups).normal(0, 0.2, (seeds, groups))
    low, high = two_way(simple(values)).interval()
    assert two_way(simple(values + shift)).interval() == pytest.approx((low + shift, high + shift), abs=1e-9)
