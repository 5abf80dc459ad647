"""Known answers and identities of the statistics. Coverage is simulated in test_coverage.py."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.judge.claims.ledger.c9_weak_zero_shot import smallest_visible_correlation
from reports.judge.estimate import LEVEL, Component, Estimate, smallest_difference
from reports.judge.intervals.pooling import across, pooled
from reports.judge.intervals.ratio import fieller
from reports.judge.intervals.two_way import Contributions, two_way
from reports.judge.ranks import expected_best, holm, rank_correlation
from tests.support.simulation import contributions_of


def simple(values: np.ndarray) -> Contributions:
    """Per-group differences (S, G), each group weighing 1 / G, in one stratum."""
    return contributions_of(values / values.shape[1], np.full(values.shape[1], "test"))


def test_two_seeds_and_three_groups_by_hand() -> None:
    """Seeds term: var(0.2, 0.4) / 2 = 0.01. Groups term: var(0.1, 0.3, 0.5) / 3 = 0.04 / 3. No interaction.

    The interval's quantile weighs t with 1 degree (12.706) and t with 2 degrees (4.303) by these two variances.
    """
    estimate = two_way(simple(np.array([[0.0, 0.2, 0.4], [0.2, 0.4, 0.6]])))
    assert estimate.effect == pytest.approx(0.3)
    variance = 0.01 + 0.04 / 3
    assert estimate.se == pytest.approx(math.sqrt(variance))
    assert estimate.df == pytest.approx(variance**2 / (0.01**2 / 1 + (0.04 / 3) ** 2 / 2))
    half = (0.01 * 12.7062 + 0.04 / 3 * 4.30265) / variance * math.sqrt(variance)
    assert estimate.interval() == pytest.approx((0.3 - half, 0.3 + half), rel=1e-5)
    assert estimate.floor() == "groups"


def test_interaction_is_counted_once_in_both_terms_together() -> None:
    """By hand: 0.1225 over seeds and 0.0625 over groups each hold 0.0025 of interaction, of which half is taken off."""
    terms = two_way(simple(np.array([[0.0, 0.4], [0.6, 1.2]]))).terms
    assert (terms["seeds"][0], terms["groups"][0]) == (pytest.approx(0.12125), pytest.approx(0.06125))


def test_an_exact_tie_without_variance_decides_nothing() -> None:
    tie = Estimate(0.1, (Component(0.0, 4, "groups"),), 1, 5)
    assert (tie.p_above(0.1), tie.p_below(0.1), tie.p_above(0.0)) == (0.5, 0.5, 0.0)


@given(st.integers(2, 5), st.integers(2, 20))
def test_p_values_are_the_inverse_of_the_interval(seeds: int, groups: int) -> None:
    estimate = two_way(simple(np.random.default_rng(seeds * groups).normal(0.1, 1, (seeds, groups))))
    low, high = estimate.interval()
    assert estimate.p_above(low) == pytest.approx((1 - LEVEL) / 2, abs=1e-6)
    assert estimate.p_below(high) == pytest.approx((1 - LEVEL) / 2, abs=1e-6)


def test_more_seeds_shrink_the_seed_term_and_more_groups_the_group_term() -> None:
    rng = np.random.default_rng(2)
    estimate = two_way(simple(rng.normal(0, 1, (4, 1)) * 0.2 + rng.normal(0, 1, (1, 40))))
    seeds, groups = estimate.scaled(seeds=4), estimate.scaled(groups=4)
    assert seeds.terms["seeds"][0] == pytest.approx(estimate.terms["seeds"][0] / 4)
    assert seeds.terms["groups"][0] == pytest.approx(estimate.terms["groups"][0])
    assert groups.terms["groups"][0] == pytest.approx(estimate.terms["groups"][0] / 4)
    assert (seeds.n_seeds, groups.n_groups) == (16, 160)


def test_rank_correlation_known_answers() -> None:
    """Spearman of a swap of neighbours among five: 1 - 6 * 2 / (5 * 24) = 0.9."""
    found = rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 5, 4])
    assert found.value == pytest.approx(0.9)
    half = 1.959964 * math.sqrt((1 + 0.81 / 2) / 2)
    z = math.atanh(0.9)
    assert (found.low, found.high) == pytest.approx((math.tanh(z - half), math.tanh(z + half)), rel=1e-5)
    assert found.p == pytest.approx(10 / 120)  # of 120 orders 5 have at least 0.9, and as many at most -0.9
    assert math.isnan(rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)
    assert rank_correlation(range(9), range(9)).high == 1.0


def test_without_seed_variance_it_is_the_one_sample_t_test_over_groups() -> None:
    values = np.array([0.1, -0.2, 0.3, 0.4, 0.0])
    estimate = two_way(simple(values[None]), seeds_vary=False)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert estimate.interval() == pytest.approx((expected.low, expected.high))
    assert estimate.p_above() == pytest.approx(stats.ttest_1samp(values, 0.0, alternative="greater").pvalue)


@pytest.mark.parametrize("groups", [2, 6, 10, 40, 1000])
def test_the_smallest_difference_is_what_a_t_test_on_groups_detects_at_best(groups: int) -> None:
    size = smallest_difference(groups)
    needed = stats.t.ppf(0.975, groups - 1) + stats.t.ppf(0.8, groups - 1)
    assert size == pytest.approx(needed * math.sqrt(size * (1 - size) / groups))
    assert math.isnan(smallest_difference(1)) and smallest_difference(2 * groups) < size < 1


def test_strata_do_not_lend_each_other_variance() -> None:
    """Two constant strata at different levels have no spread within, so no groups term."""
    values = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.5]])
    estimate = two_way(contributions_of(values, np.array(["a", "a", "b", "b"])))
    assert estimate.se == 0.0
    assert estimate.interval() == (estimate.effect, estimate.effect)


def test_agreement_in_every_group_is_no_proof_of_agreement() -> None:
    """Ten images, all the same: the term of one image for and one against, 2 / 100; t with 9 degrees 2.262157."""
    same = np.zeros((3, 10))
    estimate = two_way(contributions_of(same, np.zeros(10), np.full(10, 0.1), np.ones(10)))
    assert estimate.interval() == pytest.approx((-2.262157 * math.sqrt(0.02), 2.262157 * math.sqrt(0.02)), rel=1e-5)
    many = two_way(contributions_of(same, np.zeros(10), np.full(10, 0.1), np.full(10, 7.0)))
    assert many.se == pytest.approx(estimate.se / 7)  # seven images in each group
    # two of ten images differ, one in each direction, in every seed: above the floor nothing changes
    values = np.zeros((3, 10))
    values[:, 0], values[:, 1] = 0.1, -0.1
    counted = two_way(contributions_of(values, np.zeros(10), np.full(10, 0.1), np.ones(10)))
    assert counted.se**2 == pytest.approx(10 / 9 * 0.02)
    assert counted.se == pytest.approx(two_way(contributions_of(values, np.zeros(10))).se)


def test_groups_of_unequal_weight_with_one_accuracy_have_no_spread() -> None:
    """Every group is right half of the time; that one has nine images and another one does not make it vary."""
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    values = np.tile(weights * 0.5, (3, 1))
    weighted = two_way(contributions_of(values, np.zeros(4), weights))
    assert weighted.effect == pytest.approx(0.5) and weighted.se == pytest.approx(0)
    assert two_way(contributions_of(values, np.zeros(4))).se > 0.05


def test_the_visible_correlation_is_where_its_own_interval_ends_at_zero_with_the_power_s_room() -> None:
    found = smallest_visible_correlation(9)
    half = (1.96 + 0.84) * math.sqrt((1 + found**2 / 2) / 6)
    assert math.atanh(found) == pytest.approx(half) and 0.8 < found < 0.95


def test_equal_tasks_divide_the_variance_and_tasks_as_a_sample_have_a_t_interval_over_tasks() -> None:
    one = two_way(simple(np.random.default_rng(0).normal(0, 1, (3, 20))))
    four = pooled([one] * 4)
    assert (four.effect, four.se, four.n_groups) == pytest.approx((one.effect, one.se / 2, 80))
    rng = np.random.default_rng(1)
    tasks = [two_way(simple(rng.normal(shift, 1, (3, 20)))) for shift in (0.0, 0.5, 1.0, 2.0)]
    effects = [task.effect for task in tasks]
    expected = stats.ttest_1samp(effects, 0.0).confidence_interval(0.95)
    assert across(tasks).interval() == pytest.approx((expected.low, expected.high))
    assert across(tasks).floor() == "tasks"


def test_a_mean_over_tasks_takes_the_larger_mean_square_of_searches() -> None:
    """Three searches that move both tasks alike are three replicates of the mean; that move them apart, no fewer."""
    rng = np.random.default_rng(0)
    luck, strata = np.array([0.0, 0.03, -0.06]), np.zeros(40, int)

    def means_of(signs: tuple[int, int]) -> tuple[Component, np.ndarray, float]:
        """The term of searches, the means over tasks, and the term if searches were independent between tasks."""
        rows = [rng.normal(0.0, 1e-4, (3, 40)) + (sign * luck + 0.02)[:, None] / 40 for sign in signs]
        made = [two_way(contributions_of(values, strata, searches=np.arange(3))) for values in rows]
        together, means = pooled(made), np.mean([values.sum(1) for values in rows], axis=0)
        assert together.by_search == pytest.approx(means)
        (term,) = [c for c in together.components if c.source == "searches"]
        return term, means, sum(c.variance for one in made for c in one.components if c.source == "searches") / 4

    term, by_search, apart = means_of((1, 1))
    assert (term.df, term.variance) == (2, pytest.approx(by_search.var(ddof=1) / 3))
    assert term.variance == pytest.approx(2 * apart, rel=0.05)
    term, by_search, apart = means_of((1, -1))
    assert (term.df, term.variance) == (2, pytest.approx(apart))
    assert term.variance > 10 * by_search.var(ddof=1) / 3
    tasks = [two_way(contributions_of(rng.normal(0.0, 1e-4, (n, 40)), strata, searches=np.arange(n))) for n in (3, 2)]
    assert len(pooled(tasks).by_search) == 2  # the fewest of a task


def test_with_one_search_tasks_are_independent() -> None:
    rng = np.random.default_rng(0)
    made = [two_way(contributions_of(rng.normal(0, 1, (3, 40)), np.zeros(40, int))) for _ in range(2)]
    assert [c.df for c in pooled(made).components].count(2) == 2


def test_groups_that_tasks_share_are_counted_once() -> None:
    """Two tasks that show the same groups, and move them alike, are one task; the seeds of each are its own."""
    values = np.random.default_rng(0).normal(0, 1, (1, 40)).repeat(2, axis=0) / 40
    names = np.array([f"group {number}" for number in range(40)])
    made = contributions_of(values, np.zeros(40, int))
    named, others = (two_way(replace(made, names=np.char.add(names, end))) for end in ("", " of another task"))
    alone = two_way(made)
    assert pooled([named, named]).se == pytest.approx(alone.se)
    assert pooled([named, others]).se == pytest.approx(alone.se / 2**0.5) == pytest.approx(pooled([alone, alone]).se)
    fewer = two_way(replace(contributions_of(values[:, :20], np.zeros(20, int)), names=names[:20]))
    assert pooled([named, fewer]).components[-1].df == 19
    opposite = two_way(replace(made, values=-values, names=names))
    assert pooled([named, opposite]).se == pytest.approx(alone.se / 2**0.5)


def test_known_answers_of_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_expected_best_is_the_mean_over_all_subsets(values: list[float]) -> None:
    for n, expected in enumerate(expected_best(values), start=1):
        assert expected == pytest.approx(np.mean([max(c) for c in itertools.combinations(values, n)]))


def test_the_interval_of_a_level_is_wilsons_and_stays_in_range() -> None:
    """Against statsmodels' and scipy's Wilson interval where images are independent."""
    hits, images = 190, 200
    values = (np.arange(images) < hits)[None] / images
    found = two_way(contributions_of(values, np.zeros(images), np.full(images, 1 / images)), seeds_vary=False)
    low, high = found.level_interval()
    known = stats.binomtest(hits, images).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((known.low, known.high), abs=2e-3)
    for effect, se in ((0.99, 0.02), (0.01, 0.2), (0.5, 0.4), (1.0, 0.0), (0.0, 0.01)):
        estimate = Estimate(effect, (Component(se**2, 2, "seeds"),), 3, 40)
        low, high = estimate.level_interval()
        assert 0 <= low <= effect <= high <= 1 and high - low > 0
    assert all(map(math.isnan, Estimate(0.5, (Component(math.nan, 0, "seeds"),), 1, 40).level_interval()))


def test_images_of_one_group_count_once_in_the_interval_of_a_level() -> None:
    """Ten equal images a group: as wide as of the groups alone."""
    hits = (np.arange(40) < 30) / 40
    alone = two_way(contributions_of(hits[None], np.zeros(40), np.full(40, 1 / 40), np.ones(40)), seeds_vary=False)
    tenfold = two_way(
        contributions_of(hits[None], np.zeros(40), np.full(40, 1 / 40), np.full(40, 10)), seeds_vary=False
    )
    assert tenfold.level_interval() == pytest.approx(alone.level_interval())


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


def test_a_source_that_one_side_lacks_counts_there_as_0() -> None:
    """As where one task has a second search of one side alone."""
    gained = Estimate(1.0, (Component(0.04, 9, "groups"), Component(0.01, 3, "seeds")), 4, 0)
    lost, apart = (Estimate(effect, (Component(0.04, 9, "groups"),), 1, 0) for effect in (2.0, -1.0))
    found = fieller(gained, lost, apart)
    assert found.kind == "between" and found.low < 0.5 < found.high


def test_without_a_standard_error_there_is_no_interval() -> None:
    none = estimate(1.0, math.nan, 0)
    assert fieller(none, estimate(2.0, 0.1), none).kind == "none"
