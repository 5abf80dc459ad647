"""Every method of the registry, from one sweep to the report; what selection on test would have given beside it."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import command
from carft.config.registry import COMBINED, METHODS, SoupRule
from carft.core.array_cache import ArrayCache
from carft.data.icons.tasks import opened_images
from carft.data.task import ImageSet
from carft.store.records import Store
from tests.support.serial import run_serially

TASK = "icons-3/mix-7"
pytestmark = [pytest.mark.slow, pytest.mark.full]


def a_quarter(task: str, part: str, cache: ArrayCache | None) -> ImageSet:
    """A quarter of the images of a task."""
    images = opened_images(task, part, cache)
    return images.rows(range(0, len(images), 4))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, few_figures: None, whole_world: None) -> Path:
    """A results folder of all methods on few images, two trials and one seed each, and the report on it."""
    root = tmp_path_factory.mktemp("methods")
    methods = ",".join(name for name in METHODS if name not in COMBINED)
    asked = ("--smoke", "--trials", 2, "--seeds", 1, "--tasks", TASK, "--methods", methods, "--oracle")
    with patch("carft.data.icons.tasks.opened_images", a_quarter):
        for words in (("sweep", "downstream", *asked), ("report", "--out", root / "report")):
            done = run_serially(*words, "--results", root / "results")
            assert done.returncode == 0, done.stderr
    return root


def test_every_method_is_in_the_report(swept: Path) -> None:
    tasks = pd.read_csv(swept / "report" / "tables" / "tasks.csv")
    wise = {f"wise_ft({name})" for name, card in METHODS.items() if card.kind == "trained"}
    soups = {f"soup({name}){rule}" for name in BUILT_IN.souped_methods() for rule in ("", " greedy")}
    plain = {name for name, card in METHODS.items() if card.kind != "post-hoc"}
    assert set(tasks["method"]) == plain | wise | soups
    page = (swept / "report" / "index.html").read_text(encoding="utf-8")
    swept_cards = [card for name, card in METHODS.items() if name not in COMBINED]
    assert all(card.label in page for card in swept_cards) and "greedy soup of CAR-FT" in page


def test_a_soup_has_one_seed_and_so_no_interval(swept: Path) -> None:
    tasks = pd.read_csv(swept / "report" / "tables" / "tasks.csv").set_index("method")
    assert tasks.loc["soup(ft)", "n_seeds"] == 1 and pd.isna(tasks.loc["soup(ft)", "low"])


def test_soups_average_the_search_cells_of_their_study(swept: Path) -> None:
    store, souped = Store(swept / "results"), BUILT_IN.souped_methods()
    soups = [record for record in store.records() if record.cell.method == "soup"]
    searched = {s.method: sorted(t.cell for t in s.trials) for s in store.studies()}
    assert sorted(sorted(r.cell.parents) for r in soups) == sorted(searched[m] for m in souped for _ in SoupRule)
    assert {r.cell.hyperparameters["greedy"] for r in soups} == {rule.value for rule in SoupRule}
    assert all(store.weights_path(cell).is_file() for method in souped for cell in searched[method])
    listed = (swept / "report" / "tables" / "cells.csv").read_text()
    assert all(command(record.cell, "again", catalog=BUILT_IN).partition(" --results")[0] in listed for record in soups)


def test_oracle_opens_search_cells_by_the_sweep_alone(swept: Path) -> None:
    store = Store(swept / "results")
    searched = {t.cell for s in store.studies() for t in s.trials}
    assert len(store.studies()) == sum(card.kind == "trained" for card in METHODS.values()) and all(
        s.oracle for s in store.studies()
    )
    assert searched <= {line.cell for line in store.unsealings() if line.by == "sweep"}
    tables = swept / "report" / "tables"
    assert "test (oracle)" in set(pd.read_csv(tables / "selection.csv")["selected_on"])
    assert "caution" not in pd.read_csv(tables / "tasks.csv")  # nothing that was reported was chosen on test


def test_every_baseline_is_compared_at_equal_budgets(swept: Path) -> None:
    trials = pd.read_csv(swept / "report" / "tables" / "trials.csv")
    assert set(trials.groupby("method").size()) == {2}
    assert json.loads((swept / "report" / "manifest.json").read_text())
