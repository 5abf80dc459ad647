"""Shares of the variance over readings, against sums of squares by hand and planted effects."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from carft.config.cell import Reading
from carft.store.records import Store
from reports.evidence.views import read_evidence
from reports.tables.readings import unique_shares
from reports.tables.table import Sources
from tests.support.planted import Plan, plant

FOUR = [(), (("a", 1),), (("b", 1),), (("a", 1), ("b", 1))]
PLAN = Plan(top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.65}, context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9})


def test_shares_of_a_balanced_design_are_its_sums_of_squares() -> None:
    effects = np.array([[0.0, 2.0, 1.0, 3.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    shares = unique_shares(FOUR, effects)
    assert shares["a"] == pytest.approx([0.8, 1.0, 1 / 3])
    assert shares["b"] == pytest.approx([0.2, 0.0, 1 / 3])
    assert np.isnan(unique_shares(FOUR, np.ones((1, 4)))["a"]).all()  # effects that do not vary


def test_the_choice_that_moves_the_difference_comes_first(store: Store) -> None:
    for head, scale in product(("trained", "frozen"), ("pretrained", "one")):
        ahead = 0.75 if head == "frozen" else 0.65
        plan = replace(PLAN, top1={**PLAN.top1, "car_ft": ahead})
        plant(store, ["icons/all"], plan, reading=Reading(class_head=head, context_scale=scale), curves=False)
    table = Sources(read_evidence(store)).table("reading_factors")
    assert table["where"].tolist() == ["ID test", "ID test", "mean OOD", "mean OOD"]
    assert table["factor"].tolist() == ["class_head", "context_scale"] * 2 and set(table["readings"]) == {4}
    shares = table.set_index(["where", "factor"])
    assert (shares.xs("class_head", level="factor")["share"] > 0.9).all()
    assert (table["low"] <= table["high"]).all() and (shares.xs("class_head", level="factor")["low"] > 0.5).all()
    assert set(table["cells"].str.split().map(len)) == {4 * 3 + 2 * 3}  # a frozen head changes FT too


def test_too_few_readings_to_tell_choices_apart_have_no_rows(store: Store) -> None:
    for reading in (None, Reading(class_head="frozen"), Reading(context_scale="one")):
        plant(store, ["icons/all"], PLAN, reading=reading, curves=False)
    assert Sources(read_evidence(store)).table("reading_factors").empty


def test_a_task_without_a_test_set_has_rows_out_of_distribution_only(store: Store) -> None:
    for head, scale in product(("trained", "frozen"), ("pretrained", "one")):
        reading = Reading(class_head=head, context_scale=scale)
        plant(store, ["icons/domains/hands"], PLAN, reading=reading, curves=False)
    assert set(Sources(read_evidence(store)).table("reading_factors")["where"]) == {"mean OOD"}
