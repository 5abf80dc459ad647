"""`report compare`: planted folders that differ by a known amount, paired by what they share, and in known settings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carft.core.errors import UserError
from carft.store.archive import pack
from carft.store.records import Store
from reports.compare import compare
from tests.support.helpers import run_cli
from tests.support.planted import QUICK, Plan, change_study, plant

TASKS = ["icons-3/mix-7", "icons-3/mix-1"]
BETTER = replace(QUICK, top1={**QUICK.top1, "ft": 0.75}, spread=0.0)
SAME = replace(QUICK, spread=0.0)


def planted(folder: Path, plan: Plan, tasks: list[str] = TASKS) -> Store:
    store = Store(folder)
    plant(store, tasks, plan)
    return store


def row(first: Store, second: Store, method: str = "ft", place: str = "ID test") -> dict[str, Any]:
    (found,) = [
        one
        for one in compare(first, second).differences
        if (one["method"], one["place"], one["task"]) == (method, place, "")
    ]
    return found


def test_a_folder_against_itself_differs_in_nothing(tmp_path: Path) -> None:
    store = planted(tmp_path / "a", QUICK)
    same = compare(store, store)
    assert not same.settings and not same.only_first
    assert {one["effect"] for one in same.differences} == {0.0}
    assert {one["task"] for one in same.differences} == {"", *TASKS}


def test_cells_are_paired_by_image_and_seed_and_others_are_left_out(tmp_path: Path) -> None:
    first = planted(tmp_path / "a", SAME)
    paired = row(first, planted(tmp_path / "b", BETTER))
    assert paired["effect"] == pytest.approx(paired["second"] - paired["first"]) and paired["effect"] > 0
    unchanged = row(first, Store(tmp_path / "b"), "car_ft")
    assert unchanged["effect"] == 0 and unchanged["low"] < 0 < unchanged["high"]
    for name, plan in (("c", replace(BETTER, seeds=(7, 8))), ("d", replace(BETTER, groups=12))):
        other = compare(first, planted(tmp_path / name, plan))
        assert "ft" not in {one["method"] for one in other.differences}


def test_tasks_without_a_test_set_are_compared_on_their_suites(tmp_path: Path) -> None:
    store = planted(tmp_path / "a", QUICK, ["icons-3/domains/sketches", "icons-3/domains/renditions"])
    places = {one["place"] for one in compare(store, store).differences}
    assert "mean OOD" in places and "ID test" not in places


def test_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    first, second = planted(tmp_path / "a", QUICK), planted(tmp_path / "b", QUICK)
    for task in TASKS:
        change_study(second, task, "ft", search_seed=5)
    (setting,) = compare(first, second).settings
    assert setting == {"scope": "icons-3", "method": "ft", "name": "search_seed", "first": ["0"], "second": ["5"]}


def test_folders_without_a_common_scope_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no scope in common"):
        compare(planted(tmp_path / "a", QUICK), planted(tmp_path / "b", QUICK, ["icons-3/all"]))


def test_the_command_takes_archives_and_writes_terminal_and_json(tmp_path: Path) -> None:
    planted(tmp_path / "a", SAME)
    pack(planted(tmp_path / "b", BETTER), tmp_path / "b.zip", compact=True)
    sides = (tmp_path / "a", tmp_path / "b.zip")
    shown = run_cli("report", "compare", *sides).stdout
    assert "B minus A" in shown and "car_ft" in shown
    rows = json.loads(run_cli("report", "compare", *sides, "--json").stdout)["differences"]
    assert {one["task"] for one in rows} == {"", *TASKS}
