"""The frame of cells: what a notebook reads, and what a report makes its tables from."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from carft.core.errors import UserError
from carft.store.records import Store
from reports import read_cells
from reports.read.cells import COLUMNS
from tests.support.helpers import TASK
from tests.support.planted import GOOD, changed, plant
from tests.support.reading import judged_of, table_of

NOTEBOOK = """
import sys, reports
cells = reports.read_cells(sys.argv[1])
print(cells[cells.role == "confirm"].groupby("method")["ood/mean/top1"].mean())
assert not {"torch", "ray"} & set(sys.modules)
"""


@pytest.fixture
def folder(store: Store) -> Store:
    plant(store, [TASK], GOOD, curves=True)
    return store


def test_a_row_a_cell_with_its_place_settings_and_metrics(folder: Store) -> None:
    cells = read_cells(folder.root)
    assert list(cells.columns[: len(COLUMNS)]) == list(COLUMNS) and cells.index.is_unique
    assert set(cells.index) == set(folder.ids()) and set(cells["scope"]) == {"icons-3"}
    by_role = cells.groupby(["role", "method"]).size()
    assert by_role["confirm"].to_dict() == {"car_ft": 3, "ft": 3} and by_role["untrained", "zeroshot"] == 1
    curves = cells[cells["role"] == "post-hoc"]
    assert set(curves["alpha"]) == {0.0, 0.5, 1.0} and set(curves["parent"]) == {"ft", "car_ft"}
    assert cells.loc[curves["parents"], "seed"].tolist() == curves["seed"].tolist()
    winners = cells[cells["won"]]
    assert set(winners["method"]) == {"ft", "car_ft"} and winners["trial"].notna().all()
    assert winners["test/top1"].isna().all() and cells["hp/lr"].count() == (cells["role"] == "search").sum() + 6
    for cell in (*curves.index[:2], *winners.index):
        metrics = (
            cells.loc[cell].drop([*COLUMNS, "context_top1"]).dropna().drop(["hp/lr", "hp/kl_weight"], errors="ignore")
        )
        assert metrics.to_dict() == folder.metrics(cell)


def test_means_of_the_frame_are_those_of_the_report(folder: Store) -> None:
    cells, table = read_cells(folder.root), table_of(judged_of(folder), "tasks").set_index("method")
    means = cells[cells["role"] == "confirm"].groupby("method").mean(numeric_only=True)
    for method in ("ft", "car_ft"):
        assert means.loc[method, "ood/mean/top1"] == pytest.approx(table.loc[method, "ood/mean"])
        assert means.loc[method, "test/top1"] == pytest.approx(table.loc[method, "test_top1"])


@pytest.mark.parametrize("name", ["00", "zz"])
def test_a_trial_of_two_searches_is_of_the_first_and_won_where_one_selected_it(folder: Store, name: str) -> None:
    study = next(study for study in folder.studies() if study.method == "ft")
    folder.write_study(name, changed(study, id=name, search=2, winner=None, confirm=[]))
    row = read_cells(folder.root).loc[study.winner]
    assert (row["study"], row["search"], row["won"]) == ((name, 2, True) if name == "00" else (study.id, 1, True))


def test_a_corrupt_record_is_a_note_and_a_missing_row(folder: Store) -> None:
    cell = folder.ids()[0]
    (folder.folder(cell) / "record.json").write_text("{")
    cells = read_cells(folder.root)
    assert cell not in cells.index and len(cells) == len(folder.ids()) - 1
    (note,) = cells.attrs["notes"]
    assert cell in note and str(folder.root) not in note


def test_a_folder_without_results_is_refused_and_one_without_cells_has_the_columns(store: Store) -> None:
    with pytest.raises(UserError, match="no results"):
        read_cells(store.root)
    (store.root / "cells").mkdir(parents=True)
    assert list(read_cells(store.root)) == list(COLUMNS) and read_cells(store.root).empty


def test_a_notebook_reads_cells_in_three_lines_without_torch(folder: Store) -> None:
    done = subprocess.run([sys.executable, "-c", NOTEBOOK, folder.root], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "car_ft" in done.stdout, done.stderr
    assert isinstance(read_cells(str(folder.root)), pd.DataFrame)
