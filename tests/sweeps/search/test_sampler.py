"""What a trial tries is a function of space, study seed, trial number and earlier results."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carft.spec.catalog import BUILT_IN
from carft.spec.registry import METHODS, Range
from sweeps.search.sampler import STARTUP_TRIALS, Result, suggest

SPACE = METHODS["car_ft"].space
seeds = st.integers(0, 2**31 - 1)


def results(seed: int, count: int) -> list[Result]:
    """Earlier results with values that are made up."""
    return [Result(suggest(seed, k, SPACE, []), (k * 37 % 11) / 11) for k in range(count)]


@pytest.mark.parametrize("method", BUILT_IN.trained_methods())
def test_trial_zero_is_the_first_guess(method: str) -> None:
    space = METHODS[method].space
    expected = {name: limits.first_guess for name, limits in space.items()}
    assert suggest(0, 0, space, []) == suggest(99, 0, space, []) == expected
    assert all(limits.low <= limits.first_guess <= limits.high for limits in space.values())


@settings(max_examples=25)
@given(seeds, st.integers(1, 40), st.integers(0, 8))
def test_a_suggestion_lies_in_the_ranges_and_never_turns_the_method_off(seed: int, trial: int, count: int) -> None:
    found = suggest(seed, trial, SPACE, results(seed, count))
    assert found.keys() == SPACE.keys()
    for name, limits in SPACE.items():
        assert limits.low <= found[name] <= limits.high
    assert found["kl_weight"] > 0


@settings(max_examples=15)
@given(seeds, st.integers(1, 20), st.integers(0, 8))
def test_the_same_question_gets_the_same_answer(seed: int, trial: int, count: int) -> None:
    earlier = results(seed, count)
    expected = suggest(seed, trial, SPACE, earlier)
    suggest(seed + 1, trial, SPACE, [])
    assert suggest(seed, trial, SPACE, earlier) == expected


@given(seeds, st.integers(1, 20))
def test_another_trial_or_study_tries_something_else(seed: int, trial: int) -> None:
    assert suggest(seed, trial, SPACE, []) != suggest(seed, trial + 1, SPACE, [])
    assert suggest(seed, trial, SPACE, []) != suggest(seed + 1, trial, SPACE, [])


def test_the_first_random_trials_do_not_look_at_results() -> None:
    few = results(3, STARTUP_TRIALS - 1)
    assert suggest(3, 5, SPACE, few) == suggest(3, 5, SPACE, [])


def test_later_trials_learn_from_results() -> None:
    """Where small learning rates are right, later trials try smaller ones than the prior would."""
    grid = [10 ** (-4.5 + k / 8) for k in range(12)]
    earlier = [Result({"lr": lr, "kl_weight": 1.0}, 1.0 if lr < 6e-5 else 0.0) for lr in grid]
    learnt = [suggest(0, 20 + k, SPACE, earlier)["lr"] for k in range(20)]
    prior = [suggest(0, 20 + k, SPACE, [])["lr"] for k in range(20)]
    assert sum(lr < 8e-5 for lr in learnt) > sum(lr < 8e-5 for lr in prior)


def test_a_search_is_spread_over_the_logarithm() -> None:
    """Half of a log-uniform sample lies below the geometric mean of the range."""
    space = {"lr": Range(1e-6, 1e-2, 1e-4)}
    below = sum(suggest(seed, 1, space, [])["lr"] < 1e-4 for seed in range(60))
    assert 15 <= below <= 45


def test_a_search_never_gets_a_range_that_reaches_zero() -> None:
    for name in BUILT_IN.trained_methods():
        assert all(limits.low > 0 for limits in METHODS[name].space.values())
