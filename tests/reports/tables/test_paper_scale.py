"""What the claims would need at the paper's scale."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carft.store.records import Store
from reports.analysis.contrasts import id_test
from reports.build import sources_of
from reports.stats.intervals import POWER, two_way
from reports.tables.paper_scale import ALL_NINE, of_one, spread
from tests.support.planted import GOOD, Plan, plant
from tests.support.simulation import contributions_of

PLAN = replace(GOOD, top1={**GOOD.top1, "car_ft": 0.63}, groups=40)


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("paper-scale"))
    plant(made, ["icons-3/mix-6", "icons-3/mix-7"], PLAN)
    return made


@pytest.mark.parametrize("searches", [None, 2])
def test_an_estimate_taken_apart_and_put_together_again_is_the_same(searches: int | None) -> None:
    rng = np.random.default_rng(1)
    values = (rng.normal(0, 0.3, (6, 1)) + rng.normal(0, 0.4, 50) + rng.normal(0, 0.2, (6, 50))) / 50
    labels = None if searches is None else np.arange(6) % searches
    estimate = two_way(contributions_of(values, np.zeros(50), searches=labels))
    again = of_one(estimate).scaled(estimate.replicates, 50)
    assert again.se == pytest.approx(estimate.se)
    assert again.df == pytest.approx(estimate.df)
    assert again.components[0].source == ("seeds" if searches is None else "searches")


def test_every_set_of_the_claims_has_a_row_and_needed_is_the_first_number_that_suffices(two_tasks: Store) -> None:
    table = sources_of(two_tasks).table("paper_scale")
    assert list(table["claim"]) == ["C3"] + 5 * ["C4"] + 10 * ["C5"]
    evidence = sources_of(two_tasks).evidence
    one = spread(evidence, [id_test])
    assert one is not None
    over = one.components[0]
    assert table["sd_replicate"].iloc[0] == pytest.approx(math.sqrt(over.variance - over.interaction))
    row = table[table["set"] == "food101"].iloc[0]
    powers = [one.scaled(n, row["images"]).power(0.02) for n in (int(row["needed"]) - 1, int(row["needed"]))]
    assert powers[0] < POWER <= powers[1]
    nine = table[table["set"] == ALL_NINE].iloc[0]
    assert nine["power_10"] == pytest.approx(math.prod(table[table["claim"] == "C5"]["power_10"][:-1]))
    by_set = table.set_index("set")  # the effect that others report is measured from the margin
    assert by_set.loc["imagenet", ["effect", "margin"]].tolist() == [pytest.approx(0.005), 0.0]
    assert by_set.loc["imagenet-a", "effect"] == pytest.approx(0.103) and by_set.loc["objectnet", "basis"] == "assumed"


def test_records_without_an_interval_give_no_row(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plant(store, ["icons-3/mix-6"], Plan(PLAN.top1, PLAN.context, seeds=(1,), groups=10))
    assert sources_of(store).table("paper_scale").empty
