"""Two sides that were searched otherwise are not compared: each test plays one way of favouring a side."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from carft.config.registry import METHODS
from carft.store.records import Store
from carft.store.study import StudyFile
from reports.evidence.comparability import differences
from tests.support.helpers import made_up_study
from tests.support.planted import GOOD, by_claim, change_study, plant

TASK = "icons/all"  # a scope of its own: no further task can be missing
LARGE = {"lr": [2e-3, 6e-3, 3e-3]}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"space": LARGE}, "learning rate of fine-tuning"),
        ({"search_seed": 7}, "search seed"),
        ({"sampler": ""}, "sampler"),
        ({"precision": "bfloat16"}, "precision"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_side_that_was_searched_otherwise_is_not_comparable(
    store: Store, changes: dict[str, Any], named: str
) -> None:
    plant(store, [TASK], GOOD)
    assert {by_claim(store)[c].verdict for c in ("C3", "C4", "C12")} == {"suggested"}
    change_study(store, TASK, "ft", **changes)
    answers = by_claim(store)
    for claim in ("C2", "C3", "C4", "C12"):
        assert answers[claim].verdict == "not comparable", answers[claim]
        assert named in answers[claim].reason and TASK in answers[claim].reason
    assert "ft" in answers["C3"].reason and "car_ft" in answers["C3"].reason
    assert answers["C4b"].verdict == "suggested"  # zero-shot was never searched


def test_cells_of_another_precision_are_not_comparable_whatever_the_study_says(store: Store) -> None:
    plant(store, [TASK], replace(GOOD, top1={"zeroshot": 0.5, "ft": 0.6}))
    plant(store, [TASK], replace(GOOD, top1={"car_ft": 0.75}), precision="bfloat16")
    change_study(store, TASK, "car_ft", precision="float32")
    answers = by_claim(store)
    assert answers["C3"].verdict == "not comparable" and "bfloat16" in answers["C3"].reason
    assert answers["C4b"].verdict == "not comparable"  # zero-shot was computed at float32


def test_of_two_searches_the_comparable_one_is_reported(store: Store) -> None:
    plant(store, [TASK], GOOD, precision="bfloat16")
    plant(store, [TASK], replace(GOOD, top1={"zeroshot": 0.5, "ft": 0.6}))
    answers = by_claim(store)
    assert answers["C3"].verdict == answers["C4b"].verdict == answers["C1"].verdict == "suggested"


def study(method: str, space: dict[str, list[float]] | None = None, **content: Any) -> StudyFile:
    own = {name: [r.low, r.high, r.first_guess] for name, r in METHODS[method].space.items()}
    return made_up_study(
        **{"method": method, "space": own if space is None else space, "training": {"epochs": 5}, **content}
    )


def test_what_is_a_method_s_own_may_differ() -> None:
    """A learning rate of FLYP is another thing than FT's, and so is KD's weight than CAR-FT's."""
    assert not differences(study("ft"), study("flyp", LARGE))
    assert not differences(study("car_ft"), study("kd", {**study("kd").space, "kl_weight": [1.0, 2.0, 1.0]}))
    assert not differences(study("ft"), study("linear_probe"))
    assert differences(study("linear_probe"), study("lp_ft", {**study("lp_ft").space, "l2": [1e-3, 1e-2, 1e-3]}))
    assert "not on record" in differences(study("ft"), study("car_ft", {}))[0]


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
