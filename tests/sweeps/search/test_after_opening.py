"""A search that would change after its held-out sets were opened is named before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carft.store.records import Store
from sweeps.recipes.loading import load_recipe
from sweeps.search.after_opening import changes_after_opening
from sweeps.search.protocol import Protocol
from tests.support.helpers import run_cli
from tests.support.serial import run_serially
from tests.sweeps.search.test_protocol import Crew

ASKED = ("miniature", "--smoke", "--tasks", "icons-3/mix-7", "--methods", "zeroshot,ft", "--seeds", 1)


def test_more_trials_seeds_searches_and_other_ranges_are_named_once_sets_are_open(store: Store) -> None:
    recipe = load_recipe("miniature").changed(["icons-3/mix-7"], ["zeroshot", "ft", "car_ft"], 2, 1)
    larger = recipe.model_copy(update={"trials": 4, "seeds": 2})
    wider = recipe.with_ranges({"lr": (1e-6, 1.0)})
    assert changes_after_opening(larger, store) == []
    protocol = Protocol(recipe, store)
    Crew(store).work(protocol)
    protocol.write_studies()
    assert changes_after_opening(recipe, store) == []
    assert changes_after_opening(larger, store) == [
        f"{method} on icons-3/mix-7: more trials or seeds than its 2 and 1" for method in ("FT", "CAR-FT")
    ]
    for other in (wider, recipe.model_copy(update={"searches": 2})):
        named = changes_after_opening(other, store)
        assert len(named) == 2 and all("another search than study" in words for words in named)
    again = Protocol(larger, store)
    Crew(store).work(again)
    again.write_studies()  # study.json says from now on that it grew
    assert changes_after_opening(larger, store) == []


@pytest.mark.slow
def test_a_sweep_asks_before_searches_change_after_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ("--results", tmp_path / "results")
    assert run_serially("sweep", *ASKED, "--trials", 1, *where).returncode == 0
    more = (*ASKED, "--trials", 2, *where)
    planned = run_cli("plan", *more, "--json", in_process=True)
    assert planned.returncode == 0
    assert json.loads(planned.stdout)["after_opening"] == ["FT on icons-3/mix-7: more trials or seeds than its 1 and 1"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    refused = run_serially("sweep", *more)
    assert refused.returncode == 2 and "--yes" in refused.stderr and "more trials or seeds" in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert run_serially("sweep", *more, "--yes").returncode == 0
    assert run_serially("sweep", *more).returncode == 0
    (study,) = json.loads(run_cli("ls", "studies", *where, "--json", in_process=True).stdout)
    assert study["winner"] and 0 <= study["val/top1"] <= 1 and study["settings"].startswith("lr=")
