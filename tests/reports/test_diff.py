"""`report diff`: what moved between two folders, and whether noise alone would move it as far."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from carft.core.metrics import flatten, score
from carft.store.records import Store
from reports.diff import Comparison, compare, moved
from reports.stats.intervals import Component, Estimate
from tests.support.helpers import TASK, run_cli
from tests.support.planted import Plan, plant

pytestmark = pytest.mark.usefixtures("few_figures")

PLAN = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.62},
    context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8},
    groups=60,
    spread=0.05,
)


def planted(folder: Path, plan: Plan = PLAN, tasks: tuple[str, ...] = (TASK, "icons/tools")) -> Store:
    store = Store(folder)
    plant(store, tasks, plan)
    return store


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return planted(tmp_path_factory.mktemp("first"))


def row(found: Comparison, claim: str, scope: str = "icons") -> dict[str, object]:
    return next(r for r in found.claims if r["claim"] == f"{claim}@{scope}")


def compared(found: Comparison) -> list[dict[str, object]]:
    """The claims that both folders have an effect for."""
    return [r for r in found.claims if r["is"] != "not in both"]


def test_a_folder_does_not_differ_from_itself(first: Store) -> None:
    found = compare(first, first)
    assert {r["verdict"] for r in found.claims} == {"same"}
    assert len(compared(found)) >= 6 and {r["is"] for r in compared(found)} == {"within noise"}
    assert found.cells == {"shared": len(first.ids()), "identical": len(first.ids()), "only_first": 0, "only_second": 0}
    assert not found.differing_cells
    asked = ("report", "diff", first.root, first.root)
    printed = json.loads(run_cli(*asked, "--json").stdout)
    assert {"claims", "parts", "cells", "words"} <= set(printed)
    assert all(part["difference"] == 0 for part in printed["parts"]) and run_cli(*asked).returncode == 0


def test_a_large_effect_elsewhere_is_beyond_noise(tmp_path: Path) -> None:
    whole = ("icons/all",)
    loss = replace(PLAN, top1={**PLAN.top1, "car_ft": 0.2}, seeds=(7, 8, 9))
    found = compare(planted(tmp_path / "first", PLAN, whole), planted(tmp_path / "second", loss, whole))
    assert row(found, "C3", *whole)["verdict"] == "moved"
    assert row(found, "C3", *whole)["is"] == "beyond noise"
    assert row(found, "C1", *whole)["is"] == "within noise"
    assert found.cells["only_second"] > 0


def test_other_seeds_of_the_same_truth_stay_within_noise(first: Store, tmp_path: Path) -> None:
    found = compare(first, planted(tmp_path / "second", replace(PLAN, seeds=(7, 8, 9))))
    assert {r["is"] for r in compared(found)} == {"within noise"}


def test_same_cells_with_other_predictions_are_named(first: Store, tmp_path: Path) -> None:
    shutil.copytree(first.root, tmp_path / "second")
    second = Store(tmp_path / "second")
    cell = second.studies()[0].confirm[0]
    given = second.predictions(cell, "test")
    changed = replace(given, logits=np.roll(given.logits, 1, 1))
    second.add_evaluation(cell, "test", flatten("test", score(changed)), changed, {})
    found = compare(first, second)
    assert found.differing_cells == [cell]
    assert any(cell in line for line in found.words)


def test_versions_and_tasks_that_differ_are_named(first: Store, tmp_path: Path) -> None:
    second = Store(tmp_path / "second")
    plant(second, [TASK], PLAN)
    path = second.folder(second.ids()[0]) / "record.json"
    content = json.loads(path.read_text())
    content["provenance"]["packages"] = {"torch": "99"}
    path.write_text(json.dumps(content))
    found = compare(first, second)
    assert any("torch 99" in line for line in found.only_second)
    assert any("Tasks only in the first" in line and "icons/tools" in line for line in found.words)


def test_the_difference_is_welchs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 9), rng.normal(1, 3, 14)
    estimates = [
        Estimate(x.mean(), (Component(x.var(ddof=1) / len(x), len(x) - 1, "seeds"),), len(x), 1) for x in (a, b)
    ]
    change, expected = moved(*estimates), stats.ttest_ind(b, a, equal_var=False)
    assert 2 * min(change.p_above(), change.p_below()) == pytest.approx(expected.pvalue)
    assert change.interval() == pytest.approx(tuple(expected.confidence_interval()))
