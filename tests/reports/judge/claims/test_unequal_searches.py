"""Sides that were searched otherwise, and ranges that end where winners lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.config.registry import METHODS, MethodCard
from carft.data.icons.world import nine_tasks
from carft.store.records import Store
from carft.store.study_file import StudyFile, at_edge, edges_of, too_narrow_ranges
from reports.judge.claims.claim import Verdict
from reports.judge.claims.verdicts import verdicts
from reports.judge.protocol import unequal_settings
from reports.render.words.verdict_words import reason_words
from tests.support.helpers import made_up_study
from tests.support.planted import GOOD, by_claim, change_study, forget_journal, plant
from tests.support.reading import evidence_in

TASK = "icons-3/all"  # a scope of its own: no further task can be missing
LARGE = {"lr": [2e-3, 6e-3, 3e-3]}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"space": LARGE}, "learning rate of fine-tuning"),
        ({"search_seed": 7}, "search seed"),
        ({"sampler": ""}, "sampler"),
        ({"pruner": "halving"}, "pruner"),
        ({"precision": "bfloat16"}, "precision"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_side_that_was_searched_otherwise_is_not_comparable(
    store: Store, changes: dict[str, Any], named: str
) -> None:
    plant(store, [TASK], GOOD, curves=True)
    assert {by_claim(store)[c].verdict for c in ("C3", "C4", "C12")} == {"suggested reproduced"}
    change_study(store, TASK, "ft", **changes)
    answers = by_claim(store)
    for claim in ("C2", "C3", "C4", "C12"):
        assert answers[claim].flag == "not comparable", answers[claim]
        assert named in reason_words(answers[claim]) and TASK in reason_words(answers[claim])
    assert "ft" in reason_words(answers["C3"]) and "car_ft" in reason_words(answers["C3"])
    assert answers["C4b"].verdict == "suggested reproduced"  # zero-shot was never searched


@pytest.mark.parametrize("trials", [3, 1])
def test_of_two_searches_the_comparable_one_is_reported(store: Store, trials: int) -> None:
    """The one with more trials, and of equally large ones that of the precision which most studies have."""
    plant(store, [TASK], GOOD, precision="bfloat16", trials=trials)
    plant(store, [TASK], replace(GOOD, top1={"zeroshot": 0.5, "ft": 0.6}))
    answers = by_claim(store)
    assert answers["C3"].verdict == answers["C4b"].verdict == answers["C1"].verdict == "suggested reproduced"


def study(method: str, space: dict[str, list[float]] | None = None, **content: Any) -> StudyFile:
    own = {name: [r.low, r.high, r.first_guess] for name, r in METHODS[method].space.items()}
    return made_up_study(
        **{"method": method, "space": own if space is None else space, "training": {"epochs": 5}, **content}
    )


def differences(first: StudyFile, second: StudyFile, methods: Mapping[str, MethodCard] = METHODS) -> list[str]:
    return [note.text for note in unequal_settings(first, second, methods)]


def test_what_is_a_method_s_own_may_differ() -> None:
    """A learning rate of FLYP is another thing than FT's, and so is KD's weight than CAR-FT's."""
    assert not differences(study("ft"), study("flyp", LARGE))
    assert not differences(study("car_ft"), study("kd", {**study("kd").space, "kl_weight": [1.0, 2.0, 1.0]}))
    assert not differences(study("ft"), study("linear_probe"))
    assert differences(study("linear_probe"), study("lp_ft", {**study("lp_ft").space, "l2": [1e-3, 1e-2, 1e-3]}))
    lacking = differences(study("ft"), study("car_ft", {}))[0]
    assert lacking.startswith("the range of the learning rate") and "against car_ft not on record" in lacking


def test_the_training_recipe_is_part_of_the_search() -> None:
    longer = study("car_ft", training={"epochs": 6})
    assert differences(study("ft"), longer) == ["the training recipe (epochs) (ft 5 against car_ft 6)"]
    # a method may fix what it trains with, and not how much it trains
    methods = {**METHODS, "flyp": replace(METHODS["flyp"], own_training={"epochs": 20, "clip": 1.0})}
    found = differences(study("ft"), study("flyp", training={"epochs": 20, "clip": 1.0}), methods)
    assert found == ["the training recipe (epochs) (ft 5 against flyp 20)"]


def test_methods_that_share_a_hyperparameter_have_one_range_in_the_registry() -> None:
    for card in METHODS.values():
        assert set(card.shares) <= set(card.space), card.name
    for first, second in combinations((m for m in METHODS.values() if m.kind == "trained"), 2):
        assert not differences(study(first.name), study(second.name))


def study_of(lr: float, kl_weight: float = 1.0, **content: Any) -> StudyFile:
    space = {"lr": [1e-4, 1e-2, 1e-3], "kl_weight": [0.1, 100.0, 1.0]}
    trial = {"trial": 0, "parameters": {"lr": lr, "kl_weight": kl_weight}, "cell": "c", "status": "done"}
    return made_up_study(**{"space": space, "trials": [trial], "winner": "c", **content})


@given(st.floats(1e-6, 1e-2), st.floats(1.5, 1e4), st.floats(0, 1))
def test_a_tenth_of_the_logarithmic_width_at_each_end_is_the_edge(low: float, width: float, place: float) -> None:
    inside = 0.11 <= place <= 0.89
    outside = place <= 0.09 or place >= 0.91
    value = low * width**place
    assert not (inside and at_edge(value, low, low * width))
    assert not (outside and not at_edge(value, low, low * width))


def test_the_winner_s_values_are_looked_at_and_no_other_trial_s() -> None:
    assert edges_of(study_of(9e-3, 90.0)) == ("lr", "kl_weight")
    assert edges_of(study_of(1e-3, 90.0)) == ("kl_weight",)
    assert edges_of(study_of(1e-3)) == edges_of(study_of(9e-3, winner=None)) == ()


def test_a_range_is_too_narrow_with_three_winners_and_a_third_of_them_at_its_edge() -> None:
    inside = [study_of(1e-3)] * 5
    assert too_narrow_ranges([study_of(9e-3)] * 2) == {}
    assert too_narrow_ranges([study_of(9e-3)] * 3 + inside) == {("ft", "lr"): (3, 8)}
    assert too_narrow_ranges([study_of(9e-3)] * 3 + inside + inside) == {}
    assert too_narrow_ranges([study_of(9e-3, allow_edges=True)] * 9) == {}


def test_a_claim_on_methods_whose_ranges_are_too_narrow_is_in_doubt(store: Store) -> None:
    plant(store, nine_tasks(), replace(GOOD, seeds=(1, 2)))
    forget_journal(store)  # which would name what is changed below
    assert claim(store, "C3").verdict == "suggested reproduced"
    lr = next(s for s in store.studies() if s.method == "ft").trials[0].parameters["lr"]
    for task in nine_tasks():
        for method in ("ft", "car_ft"):
            known = next(s for s in store.studies() if (s.task, s.method) == (task, method))
            space = {**known.space, "lr": [lr / 100, lr, lr]}
            change_study(store, task, method, space=space)
    found = claim(store, "C3")
    assert found.direction == "for" and found.flag == "in doubt"
    assert "the search range is too narrow" in reason_words(found)


def claim(store: Store, name: str) -> Verdict:
    return next(v for v in verdicts(evidence_in(store)) if v.claim == name)
