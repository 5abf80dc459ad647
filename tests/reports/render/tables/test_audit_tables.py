"""The audit's tables: contexts, null checks, their words and figures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carft.catalog.resolve import specify
from carft.config.cell import Cell, Reading
from carft.store.archive import pack, unpack
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from reports.judge.evidence import Evidence
from reports.judge.findings import judge
from reports.judge.null_checks import DIVERGENCE, WEIGHT_0_IS_FT, null_checks
from reports.render.figures.figure import draw_figures, figures
from reports.render.pictures import MOST, shown_images
from reports.render.tables.table import make_tables, rows_of, table_cards
from tests.support.helpers import LR, TASK, made_up_study, quick_cell
from tests.support.planted import HYPERPARAMETERS, QUICK, Plan, plant, write
from tests.support.reading import evidence_in, judged_of, table_of

AUDIT = ("nulls", "selection", "one_trial", "readings", "confusion", "problems", "tasks")
TASKS = ("icons-3/mix-1", "icons-3/mix-3", "icons-3/mix-6")
PLAN = replace(QUICK, top1={**QUICK.top1, "car_ft": 0.7}, seeds=(1, 2, 3), groups=24, shift={"ft": -0.2}, oracle=True)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Three tasks with everything, and icons-3/all under two readings."""
    store = Store(tmp_path_factory.mktemp("audit"))
    plant(store, TASKS, PLAN)
    for reading in (None, Reading(kl_direction="symmetric"), Reading(context_temperature=10.0)):
        plant(store, ["icons-3/all"], PLAN, reading=reading)
    return evidence_in(store)


@pytest.fixture(scope="module")
def made(evidence: Evidence) -> dict[str, pd.DataFrame]:
    sources = judge(evidence.folder)
    return {name: table_of(sources, name) for name in AUDIT}


def test_every_table_names_scope_scale_n_and_what_selected_and_no_row_mixes_scopes(
    made: dict[str, pd.DataFrame],
) -> None:
    for name, table in made.items():
        keys = list(table_cards()[name].keys)
        assert set(keys) <= set(table.columns), name
        assert not table.duplicated(keys).any(), name
        if len(table) and name not in ("nulls", "problems"):
            assert {"scope", "scale"} <= set(table.columns), name
            assert any(c.startswith("n_") or c in ("images", "readings", "points") for c in table), name
        assert set(table.get("selected_on", ())) <= {"validation", "test (oracle)", "nothing"}, name
    assert "test (oracle)" in set(made["selection"]["selected_on"])
    assert set(made["confusion"]["scope"]) == {"icons-3", "icons-3/all"}
    for scope, part in made["tasks"].groupby("scope"):
        assert set(part["task"]) == (set(TASKS) if scope == "icons-3" else {"icons-3/all"})


def test_the_means_of_tasks_are_those_of_their_confirm_cells(evidence: Evidence) -> None:
    sources = judge(evidence.folder)
    cells, tasks = table_of(sources, "confirmed"), table_of(sources, "tasks").set_index(["scope", "task", "method"])
    assert {scope for scope, _, _ in tasks.index} == {"icons-3", "icons-3/all"}
    assert len(cells) and not cells.duplicated(["scope", "task", "method", "search", "seed"]).any()
    for (scope, task, method), part in cells.groupby(["scope", "task", "method"]):
        told = tasks.loc[(scope, task, method)]
        assert part["test_top1"].mean() == pytest.approx(told["test_top1"], nan_ok=True)
        assert part["ood_mean"].mean() == pytest.approx(told["ood/mean"], nan_ok=True)
        assert len(part) == told["n_seeds"]


def test_figures_are_drawn_per_scope(evidence: Evidence, tmp_path: Path) -> None:
    drawn = ("contexts", "readings")
    tables = make_tables(
        judge(evidence.folder)
    )  # a sweep writes of a temperature that is searched that it is validated
    tables["readings"] = tables["readings"].replace({"context_temperature": {10.0: "validated"}})
    with patch.dict(figures(), {name: figures()[name] for name in drawn}, clear=True):
        figures_drawn = draw_figures(tables, evidence.scale, tmp_path)
    names = {each.name for each in figures_drawn}
    assert {*drawn[:-1], "readings-icons-3-all"} <= names and "readings" not in names
    assert all(each.figure.caption and each.title and each.png.stat().st_size > 1000 for each in figures_drawn)


def test_confusion_rows_sum_to_one_and_agree_with_recognition(made: dict[str, pd.DataFrame]) -> None:
    table = made["confusion"]
    sums = table.groupby(["scope", "method", "where", "known"])["share"].sum()
    assert np.allclose(sums, 1)
    right = table[table["known"] == table["named"]]
    share = right.groupby("method")["images"].sum() / table.groupby("method")["images"].sum()
    assert share["ft"] < share["car_ft"] < share["zeroshot"]


def checks(store: Store) -> dict[str, str]:
    return {c.name: c.status for c in null_checks(evidence_in(store))}


WEIGHT, KL = WEIGHT_0_IS_FT, DIVERGENCE


def study(store: Store, cells: list[Cell]) -> None:
    """A study that names these cells as its confirm cells."""
    first = cells[0]
    keys = ("task", "method", "data_version", "model", "pretrained")
    content = {key: getattr(first, key) for key in keys} | {"id": first.method, "training": {"epochs": 1}}
    trial = {"trial": 0, "parameters": dict(first.hyperparameters), "cell": first.id, "status": "done"}
    confirm = [cell.id for cell in cells]
    store.write_study(first.method, made_up_study(**content, trials=[trial], winner=first.id, confirm=confirm))


def test_null_checks_pass_on_real_cells(
    finished: Store, cells: dict[str, Cell], execution: Execution, tmp_path: Path
) -> None:
    store = Store(shutil.copytree(finished.root, tmp_path / "results"))
    run_cell(quick_cell("car_ft", lr=LR, kl_weight=0.0), store, execution, unseal=True)
    study(store, [cells["ft"]])
    study(store, [cells["car_ft"]])
    assert checks(store) == {WEIGHT: "passed", KL: "passed"}
    pack(store, tmp_path / "compact.zip", compact=True)
    unpack(tmp_path / "compact.zip", tmp_path / "compact")
    assert checks(Store(tmp_path / "compact"))[WEIGHT] == "passed"
    history = store.folder(cells["car_ft"].id) / "history.parquet"
    table = pq.read_table(history)
    place = table.column_names.index("train/kl")
    pq.write_table(table.set_column(place, "train/kl", pa.array(np.full(len(table), 0.5))), history)
    assert checks(store)[KL] == "failed"
    pq.write_table(table.set_column(place, "train/kl", pa.array(np.zeros(len(table)))), history)
    assert checks(store)[KL] == "failed"


def test_a_weight_of_zero_that_changes_something_fails_and_without_cells_nothing_is_claimed(
    store: Store, evidence: Evidence
) -> None:
    for method, extra, top1 in (("ft", {}, 0.6), ("car_ft", {"kl_weight": 0.0}, 0.8)):
        cell = specify(TASKS[0], method, {**HYPERPARAMETERS["ft"], **extra}, 1)
        write(store, cell, top1, 0.7, PLAN)
        study(store, [cell])
    found = {c.name: c for c in null_checks(evidence_in(store))}[WEIGHT]
    assert found.status == "failed" and len(found.cells) == 2
    without = {c.name: c for c in null_checks(evidence)}
    assert without[WEIGHT].status == without[KL].status == "not checkable"


TOP1 = {"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.65, "l2_sp": 0.62}
CONTEXT = {"zeroshot": 0.9, "ft": 0.5, "car_ft": 0.8, "l2_sp": 0.7}
COMPARED = ["icons-3/all"]  # a scope of its own: no further task can be missing


def test_every_method_is_compared_with_ft_and_car_ft_with_every_other(tmp_path: Path) -> None:
    plant(Store(tmp_path), COMPARED, Plan(TOP1, CONTEXT, groups=12))
    sources = judged_of(Store(tmp_path))
    table = table_of(sources, "comparisons").set_index(["contrast", "where"])
    tuned = ["L2-SP - FT", "CAR-FT - FT", "CAR-FT - L2-SP"]
    assert list(dict.fromkeys(table.index.get_level_values(0))) == [*tuned, "CAR-FT - FT, equal settings"]
    assert list(dict.fromkeys(table.loc[tuned].index.get_level_values(1))) == ["contexts", "ID test", "mean OOD"]
    registered = table.loc[("CAR-FT - FT, equal settings", "ID test")]  # the winners have these settings here
    assert registered["effect"] == pytest.approx(table.loc[("CAR-FT - FT", "ID test"), "effect"])
    tasks = table_of(sources, "tasks").groupby("method")["test_top1"].mean()
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
    plant(store, COMPARED, Plan(once, CONTEXT, groups=12))
    again = Plan({"ft": 0.75, "car_ft": 0.65}, CONTEXT, groups=12)
    plant(store, COMPARED, again, search=2)
    table = table_of(judged_of(store), "comparisons").set_index(["contrast", "where"])
    both, first = (table.loc[(name, "ID test")] for name in ("CAR-FT - FT", "CAR-FT - FT, first search"))
    assert (both["n_searches"], first["n_searches"]) == (2, 1)
    other, led = (table.loc[(name, "ID test"), "effect"] for name in ("L2-SP - FT", "CAR-FT - L2-SP"))
    assert first["effect"] == pytest.approx(other + led) and first["effect"] > both["effect"]


def test_pictures_show_disagreement_in_both_directions_and_every_context_and_are_the_same_each_time(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    top1, context = {"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.7}, {"zeroshot": 0.9, "ft": 0.5, "car_ft": 0.8}
    plant(store, [TASK, "icons-3/mix-6"], Plan(top1, context, seeds=(1, 2), groups=40, spread=0.2))
    evidence = evidence_in(store)
    examples, found = shown_images(evidence)
    assert MOST / 2 <= len(found) <= MOST and not found.duplicated(["task", "set", "image"]).any()
    assert set(found["question"]) == {"class", "context"} and set(found["right"]) == {"car_ft", "ft"}
    assert set(found["task"]) == {TASK, "icons-3/mix-6"}
    for row in rows_of(found):
        truth = row["label"] if row["question"] == "class" else row["context"]
        wrong = {"car_ft": "ft", "ft": "car_ft"}[row["right"]]
        assert row[row["right"]] == truth and truth not in row[wrong].split(", ")
    assert found.equals(shown_images(evidence_in(store))[1])
    assert sorted(examples["context"]) == sorted(evidence.card(TASK).contexts)
