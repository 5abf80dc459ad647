"""Selection looks at validation alone, and at nothing that could differ from run to run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.config.selection import Candidate, averaged, best, best_alpha

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
        found = best(averaged(own, [first, second]))
        assert found is not None and (found.trial, found.metrics["val/top1"]) == (2, pytest.approx(0.65))
    assert best(first) == first[3] and best(second) == second[2]


def test_nothing_is_chosen_from_nothing() -> None:
    assert best([]) is None
    with pytest.raises(ValueError, match="empty"):
        best_alpha({})


@given(candidate_lists(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_never_matters(candidates: list[Candidate], random: Any) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)
    assert best(shuffled) == best(candidates)


@given(candidate_lists(), st.data())
def test_test_numbers_never_matter(candidates: list[Candidate], data: st.DataObject) -> None:
    def peeking(c: Candidate) -> Candidate:
        others = ("test/top1", "test/loss", "ood/mean/top1", "train/loss", "val/context_top1")
        extra = {name: data.draw(st.floats(0, 1)) for name in others}
        return Candidate(c.cell, c.trial, {**extra, **c.metrics})

    assert chosen(*candidates) == chosen(*map(peeking, candidates))


def curve(**top1: float) -> dict[float, dict[str, float]]:
    return {float(name.removeprefix("a")) / 100: {"val/top1": value} for name, value in top1.items()}


def test_ties_of_alpha_go_to_the_nearest_to_one_half_then_to_the_smaller() -> None:
    assert best_alpha(curve(a0=0.9, a25=0.9, a50=0.1, a75=0.1, a100=0.9)) == 0.25
    assert best_alpha(curve(a0=0.9, a25=0.9, a50=0.9, a75=0.9, a100=0.9)) == 0.5
    assert best_alpha(curve(a0=0.5, a25=0.9, a50=0.5, a75=0.9, a100=0.5)) == 0.25


@given(st.dictionaries(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), few, min_size=1), st.randoms())
def test_alpha_depends_neither_on_order_nor_on_test_numbers(values: dict[float, float], random: Any) -> None:
    plain = {alpha: {"val/top1": value} for alpha, value in values.items()}
    items = [(alpha, {"test/top1": random.random(), **scores}) for alpha, scores in plain.items()]
    random.shuffle(items)
    assert best_alpha(dict(items)) == best_alpha(plain)
