"""Winners at the edge of their search range are named, and too many of them leave a claim open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.data.catalog import DOWNSTREAM_ICONS
from carft.store.records import Store
from carft.store.study import StudyFile, at_edge, edge_words, edges_of, narrow_ranges
from reports.build import sources_of
from reports.claims.claim import Verdict
from reports.claims.verdicts import verdicts
from reports.evidence.caveats import ALLOWED_EDGES
from reports.evidence.views import read_evidence
from tests.support.helpers import made_up_study
from tests.support.planted import Plan, change_study, changed, plant


def study(lr: float, kl_weight: float = 1.0, **content: Any) -> StudyFile:
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
    assert edges_of(study(9e-3, 90.0)) == ("lr", "kl_weight")
    assert edges_of(study(1e-3, 90.0)) == ("kl_weight",)
    assert edges_of(study(1e-3)) == edges_of(study(9e-3, winner=None)) == ()


def test_a_range_is_too_narrow_with_three_winners_and_a_third_of_them_at_its_edge() -> None:
    inside = [study(1e-3)] * 5
    assert narrow_ranges([study(9e-3)] * 2) == {}
    assert narrow_ranges([study(9e-3)] * 3 + inside) == {("ft", "lr"): (3, 8)}
    assert narrow_ranges([study(9e-3)] * 3 + inside + inside) == {}
    assert narrow_ranges([study(9e-3, allow_edges=True)] * 9) == {}


def test_the_words_name_each_hyperparameter_with_its_count() -> None:
    assert edge_words([study(1e-3)]) == ""
    words = edge_words([study(9e-3), study(9e-3, 90.0), study(1e-3)])
    assert "KL weight of FT (1 of 3); learning rate of FT (2 of 3)." in words


@pytest.mark.parametrize("allowed", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_claim_on_methods_whose_ranges_are_too_narrow_is_in_doubt(store: Store, allowed: bool) -> None:
    plan = Plan(top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.75}, context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9})
    plant(store, list(DOWNSTREAM_ICONS), replace(plan), curves=False)
    assert claim(store, "C3").verdict == "suggested"
    lr = next(s for s in store.studies() if s.method == "ft").trials[0].parameters["lr"]
    for task in DOWNSTREAM_ICONS:
        for method in ("ft", "car_ft"):
            known = next(s for s in store.studies() if (s.task, s.method) == (task, method))
            space = {**known.space, "lr": [lr / 100, lr, lr]}
            change_study(store, task, method, space=space, **({"allow_edges": True} if allowed else {}))
    found = claim(store, "C3")
    assert found.verdict == ("suggested" if allowed else "in doubt, for")
    assert ("the search range is too narrow" in found.reason) is not allowed
    shown = next(v for v in sources_of(store).verdicts if v.claim == "C3")
    assert (ALLOWED_EDGES in shown.caution) is allowed


def test_the_ranges_of_a_second_scope_are_looked_at_too(store: Store, tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"weights")
    plan = Plan(top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.75}, context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9})
    plant(store, list(DOWNSTREAM_ICONS), plan, curves=False)
    plant(store, list(DOWNSTREAM_ICONS), plan, curves=False, pretrained=str(weights))
    for known in [s for s in store.studies() if s.pretrained != "icons"]:
        lr = known.trials[0].parameters["lr"]
        store.write_study(known.id, changed(known, space={**known.space, "lr": [lr / 100, lr, lr]}))
    first, second = (v for v in verdicts(read_evidence(store)) if v.claim == "C3")
    assert (first.verdict, second.verdict) == ("suggested", "in doubt, for")
    assert "the search range is too narrow" in second.reason


def claim(store: Store, name: str) -> Verdict:
    return next(v for v in verdicts(read_evidence(store)) if v.claim == name)
