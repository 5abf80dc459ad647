"""What a trial tries is a function of search seed, trial number and ranges."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carft.config.catalog import BUILT_IN
from carft.config.registry import METHODS, Range
from carft.config.sequence import DIMENSIONS, OTHER_DIMENSIONS, coordinate, dimensions_of, trial_parameters

SPACE = METHODS["car_ft"].space
UNIT = Range(1.0, 16.0, 4.0)
seeds = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize("method", BUILT_IN.trained_methods())
def test_trial_zero_is_the_first_guess(method: str) -> None:
    space = METHODS[method].space
    expected = {name: limits.first_guess for name, limits in space.items()}
    assert trial_parameters(0, 0, space) == trial_parameters(99, 0, space) == expected
    assert all(0 < limits.low <= limits.first_guess <= limits.high for limits in space.values())
    assert set(space) <= set(DIMENSIONS), "give a new hyperparameter a dimension, and change no other"


@settings(max_examples=25)
@given(seeds, st.integers(1, 300), st.floats(1e-9, 1e9), st.floats(1, 1e6))
def test_a_trial_lies_in_its_ranges(seed: int, trial: int, low: float, width: float) -> None:
    tried = trial_parameters(seed, trial, {"own": Range(low, low * width, low)})
    assert low <= tried["own"] <= low * width


def test_the_sequence_is_the_same_on_every_machine() -> None:
    """The ids of cells depend on it."""
    assert [trial_parameters(0, k, SPACE) for k in (1, 2, 3, 1000)] == [
        {"lr": 0.000216707, "kl_weight": 0.201393},
        {"lr": 4.03983e-05, "kl_weight": 1.21878},
        {"lr": 8.51663e-05, "kl_weight": 0.663885},
        trial_parameters(0, 1000, dict(reversed(SPACE.items()))),
    ]
    code = "import json; from carft.config.sequence import *; from carft.config.registry import METHODS; "
    code += "print(json.dumps(trial_parameters(7, 9, METHODS['lp_ft'].space)))"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(elsewhere) == trial_parameters(7, 9, METHODS["lp_ft"].space)


def test_all_methods_read_the_same_points_each_through_its_own_range() -> None:
    for trial in range(1, 9):
        rates = {trial_parameters(3, trial, METHODS[name].space)["lr"] for name in ("ft", "kd", "l2_sp", "car_ft")}
        assert len(rates) == 1
        wide, narrow = ({"lr": Range(low, high, low)} for low, high in ((1e-6, 1e-2), (1e-4, 1e-3)))
        share = [trial_parameters(3, trial, space)["lr"] for space in (wide, narrow)]
        assert share[0] / 1e-6 == pytest.approx((share[1] / 1e-4) ** 4, rel=1e-4)


@settings(max_examples=50)
@given(seeds)
def test_every_four_points_lie_in_four_quarters_with_the_learning_rate(seed: int) -> None:
    """So also for a plug-in's own names, and any 2 ** m points are spread evenly over each range."""
    space = dict.fromkeys([*DIMENSIONS, *(f"own{k:02}" for k in range(len(OTHER_DIMENSIONS)))], 0)
    dimensions = dimensions_of(space)
    assert len(set(dimensions.values())) == len(space)
    points = {name: [coordinate(seed, name, dimensions[name], k) for k in range(16)] for name in space}
    for name in set(space) - {"lr"}:
        for start in range(0, 16, 4):
            pairs = list(zip(points["lr"], points[name], strict=True))[start : start + 4]
            assert len({(x > 0.5, y > 0.5) for x, y in pairs}) == 4
    assert all(sorted(int(16 * x) for x in values) == list(range(16)) for values in points.values())


@given(seeds, st.integers(1, 20))
def test_another_trial_or_search_tries_something_else(seed: int, trial: int) -> None:
    assert trial_parameters(seed, trial, SPACE) != trial_parameters(seed, trial + 1, SPACE)
    assert trial_parameters(seed, trial, SPACE) != trial_parameters(seed + 1, trial, SPACE)


def test_each_point_is_uniform_over_searches() -> None:
    """Each trial of many searches, and each pair of hyperparameters of it, is spread over the whole range."""
    for trial in (1, 2, 5):
        found = [trial_parameters(seed, trial, {"lr": UNIT, "kl_weight": UNIT}) for seed in range(800)]
        for quarter in range(4):
            inside = sum(4**0.5**quarter <= values["lr"] < 4**0.5 ** (quarter + 1) for values in found)
        low = [(values["lr"] < 4, values["kl_weight"] < 4) for values in found]
        assert all(150 <= low.count(pair) <= 250 for pair in set(low)) and len(set(low)) == 4, inside
