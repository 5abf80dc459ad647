"""What a search tries and which trial wins: functions of seed, number, ranges and validation alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carft.config.registry import METHODS, Range
from carft.protocol.sampling import DIMENSIONS, OTHER_DIMENSIONS, coordinate, dimensions_of, trial_parameters
from carft.protocol.selection import Candidate, averaged, best, best_alpha, min_finished_trials

few = st.sampled_from([0.25, 0.5, 0.75])


@st.composite
def candidate_lists(draw: st.DrawFn) -> list[Candidate]:
    """Few different values, so that ties are common."""
    count = draw(st.integers(1, 8))
    return [Candidate(f"cell {trial}", trial, {"val/top1": draw(few), "val/loss": draw(few)}) for trial in range(count)]


def candidate(trial: int, top1: float, loss: float) -> Candidate:
    return Candidate(f"cell {trial}", trial, {"val/top1": top1, "val/loss": loss})


def chosen(*candidates: Candidate) -> int:
    found = best(candidates)
    assert found is not None
    return found.trial


@pytest.mark.parametrize(
    "winner", [candidate(1, 0.6, 9.0), candidate(1, 0.5, 0.05), candidate(0, 0.5, 0.1)], ids=["top1", "loss", "trial"]
)
def test_accuracy_decides_then_loss_then_the_number_of_the_trial(winner: Candidate) -> None:
    assert chosen(candidate(2, 0.5, 0.1), winner) == chosen(winner, candidate(2, 0.5, 0.1)) == winner.trial


def test_tasks_that_share_a_setting_select_by_their_means() -> None:
    first = [candidate(0, 0.9, 0.1), candidate(1, 0.8, 0.1), candidate(2, 0.8, 0.2), candidate(3, 1.0, 0.0)]
    second = [candidate(0, 0.1, 0.1), candidate(1, 0.5, 0.4), candidate(2, 0.5, 0.1)]
    for own in (first, second):
        assert [one.trial for one in averaged(own, [first, second])] == [0, 1, 2]
        found = best(averaged(own, [first, second]))
        assert found is not None and (found.trial, found.metrics["val/top1"]) == (2, pytest.approx(0.65))
    assert best(first) == first[3] and best(second) == second[2]


@pytest.mark.parametrize(("trials", "pruned", "least"), [(4, 0, 2), (5, 0, 3), (6, 2, 1), (6, 5, 1), (1, 1, 1)])
def test_half_of_the_trials_must_be_finished_or_pruned_and_one_finished(trials: int, pruned: int, least: int) -> None:
    assert min_finished_trials(trials, pruned) == least


def test_nothing_is_chosen_from_nothing() -> None:
    assert best([]) is None
    with pytest.raises(ValueError, match="empty"):
        best_alpha({})


@given(candidate_lists(), st.data())
def test_neither_test_numbers_nor_order_matter(candidates: list[Candidate], data: st.DataObject) -> None:
    def peeking(c: Candidate) -> Candidate:
        others = ("test/top1", "test/loss", "ood/mean/top1", "train/loss", "val/context_top1")
        extra = {name: data.draw(st.floats(0, 1)) for name in others}
        return Candidate(c.cell, c.trial, {**extra, **c.metrics})

    assert chosen(*candidates) == chosen(*map(peeking, reversed(candidates)))


def curve(**top1: float) -> dict[float, dict[str, float]]:
    return {float(name.removeprefix("a")) / 100: {"val/top1": value} for name, value in top1.items()}


def test_ties_of_alpha_go_to_the_nearest_to_one_half_then_to_the_smaller() -> None:
    assert best_alpha(curve(a0=0.9, a25=0.9, a50=0.1, a75=0.1, a100=0.9)) == 0.25
    assert best_alpha(curve(a0=0.9, a25=0.9, a50=0.9, a75=0.9, a100=0.9)) == 0.5
    assert best_alpha(curve(a0=0.5, a25=0.9, a50=0.5, a75=0.9, a100=0.5)) == 0.25


SPACE = METHODS["car_ft"].space
UNIT = Range(1.0, 16.0, 4.0)
seeds = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize("method", [name for name, card in METHODS.items() if card.kind == "trained"])
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
    code = "import json; from carft.protocol.sampling import *; from carft.config.registry import METHODS; "
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
