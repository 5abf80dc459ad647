"""What the claims would need at the paper's scale, and what of their variance lies in the readings."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from carft.config.cell import Reading
from carft.store.records import Store
from reports.analysis.contrasts import id_test
from reports.build import sources_of
from reports.evidence.views import read_evidence
from reports.stats.intervals import POWER, Contributions, two_way
from reports.tables.paper_scale import ALL_NINE, _spread_of, spread
from reports.tables.readings import unique_shares
from reports.tables.table import Sources
from tests.support.planted import GOOD, Plan, plant

PLAN = replace(GOOD, top1={**GOOD.top1, "car_ft": 0.63}, groups=40)


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("paper-scale"))
    plant(made, ["icons/tools", "icons/transport"], PLAN)
    return made


@pytest.mark.parametrize("searches", [None, 2])
def test_an_estimate_taken_apart_and_put_together_again_is_the_same(searches: int | None) -> None:
    rng = np.random.default_rng(1)
    values = (rng.normal(0, 0.3, (6, 1)) + rng.normal(0, 0.4, 50) + rng.normal(0, 0.2, (6, 50))) / 50
    labels = None if searches is None else np.arange(6) % searches
    estimate = two_way(Contributions(values, np.zeros(50), searches=labels))
    again = _spread_of(estimate).at(estimate.replicates, 50, estimate.effect)
    assert again.se == pytest.approx(estimate.se)
    assert again.df == pytest.approx(estimate.df)
    assert _spread_of(estimate).replicate == ("seeds" if searches is None else "searches")


def test_every_set_of_the_claims_has_a_row_and_needed_is_the_first_number_that_suffices(two_tasks: Store) -> None:
    table = sources_of(two_tasks).table("paper_scale")
    assert list(table["claim"]) == ["C3"] + 5 * ["C4"] + 10 * ["C5"]
    evidence = sources_of(two_tasks).evidence
    known = spread(evidence, [id_test])
    assert known is not None and table["sd_replicate"].iloc[0] == pytest.approx(math.sqrt(known.between))
    row = table[table["set"] == "food101"].iloc[0]
    powers = [known.at(n, row["images"], 0.02).power(0.02) for n in (int(row["needed"]) - 1, int(row["needed"]))]
    assert powers[0] < POWER <= powers[1]
    nine = table[table["set"] == ALL_NINE].iloc[0]
    assert nine["power_10"] == pytest.approx(math.prod(table[table["claim"] == "C5"]["power_10"][:-1]))
    by_set = table.set_index("set")  # the effect that others report is measured from the margin
    assert by_set.loc["imagenet", ["effect", "margin"]].tolist() == [pytest.approx(0.0044), 0.0]
    assert by_set.loc["imagenet-a", "effect"] == pytest.approx(0.103) and by_set.loc["objectnet", "basis"] == "assumed"


def test_records_without_an_interval_give_no_row(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plant(store, ["icons/tools"], Plan(PLAN.top1, PLAN.context, seeds=(1,), groups=10))
    assert sources_of(store).table("paper_scale").empty


FOUR = [(), (("a", 1),), (("b", 1),), (("a", 1), ("b", 1))]
OF_READINGS = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.65}, context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9}
)


def test_shares_of_a_balanced_design_are_its_sums_of_squares() -> None:
    effects = np.array([[0.0, 2.0, 1.0, 3.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    shares = unique_shares(FOUR, effects)
    assert shares["a"] == pytest.approx([0.8, 1.0, 1 / 3])
    assert shares["b"] == pytest.approx([0.2, 0.0, 1 / 3])
    assert np.isnan(unique_shares(FOUR, np.ones((1, 4)))["a"]).all()  # effects that do not vary


def test_the_choice_that_moves_the_difference_comes_first(store: Store) -> None:
    for head, scale in product(("trained", "frozen"), ("pretrained", "one")):
        ahead = 0.75 if head == "frozen" else 0.65
        plan = replace(OF_READINGS, top1={**OF_READINGS.top1, "car_ft": ahead})
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
        plant(store, ["icons/all"], OF_READINGS, reading=reading, curves=False)
    assert Sources(read_evidence(store)).table("reading_factors").empty


def test_a_task_without_a_test_set_has_rows_out_of_distribution_only(store: Store) -> None:
    for head, scale in product(("trained", "frozen"), ("pretrained", "one")):
        reading = Reading(class_head=head, context_scale=scale)
        plant(store, ["icons/domains/hands"], OF_READINGS, reading=reading, curves=False)
    assert set(Sources(read_evidence(store)).table("reading_factors")["where"]) == {"mean OOD"}
