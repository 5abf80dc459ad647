"""Every trained method against plain fine-tuning: the means are those of the cells, and unequal sides are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from carft.store.records import Store
from reports.build import sources_of
from tests.support.planted import Plan, plant

TOP1 = {"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.65, "l2_sp": 0.62}
CONTEXT = {"zeroshot": 0.9, "ft": 0.5, "car_ft": 0.8, "l2_sp": 0.7}
TASKS = ["icons/all"]  # a scope of its own: no further task can be missing


def test_every_method_is_compared_with_ft_and_car_ft_with_every_other(tmp_path: Path) -> None:
    plant(Store(tmp_path), TASKS, Plan(TOP1, CONTEXT, groups=12), curves=False)
    sources = sources_of(Store(tmp_path))
    table = sources.table("comparisons").set_index(["contrast", "where"])
    tuned = ["L2-SP - FT", "CAR-FT - FT", "CAR-FT - L2-SP"]
    assert list(dict.fromkeys(table.index.get_level_values(0))) == [*tuned, "CAR-FT - FT, equal settings"]
    assert list(dict.fromkeys(table.loc[tuned].index.get_level_values(1))) == ["contexts", "ID test", "mean OOD"]
    registered = table.loc[("CAR-FT - FT, equal settings", "ID test")]  # the winners have these settings here
    assert registered["effect"] == pytest.approx(table.loc[("CAR-FT - FT", "ID test"), "effect"])
    tasks = sources.table("tasks").groupby("method")["test_top1"].mean()
    for first, second in (("l2_sp", "ft"), ("car_ft", "ft"), ("car_ft", "l2_sp")):
        labels = {"l2_sp": "L2-SP", "ft": "FT", "car_ft": "CAR-FT"}
        row = table.loc[(f"{labels[first]} - {labels[second]}", "ID test")]
        assert row["effect"] == pytest.approx(tasks[first] - tasks[second])
        assert row["low"] < row["effect"] < row["high"] and row["flaws"] == ""
    sums = table.loc[tuned, "effect"].unstack()
    assert sums.loc["CAR-FT - L2-SP"].to_numpy() == pytest.approx(
        (sums.loc["CAR-FT - FT"] - sums.loc["L2-SP - FT"]).to_numpy()
    )


def test_where_a_method_has_one_search_car_ft_is_also_compared_with_ft_in_that_search(store: Store) -> None:
    once = {name: TOP1[name] for name in ("zeroshot", "ft", "car_ft", "l2_sp")}
    plant(store, TASKS, Plan(once, CONTEXT, groups=12), curves=False)
    again = Plan({"ft": 0.75, "car_ft": 0.65}, CONTEXT, groups=12)
    plant(store, TASKS, again, curves=False, search=2)
    table = sources_of(store).table("comparisons").set_index(["contrast", "where"])
    both, first = (table.loc[(name, "ID test")] for name in ("CAR-FT - FT", "CAR-FT - FT, first search"))
    assert (both["n_searches"], first["n_searches"]) == (2, 1)
    other, led = (table.loc[(name, "ID test"), "effect"] for name in ("L2-SP - FT", "CAR-FT - L2-SP"))
    assert first["effect"] == pytest.approx(other + led) and first["effect"] > both["effect"]
