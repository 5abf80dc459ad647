"""A compact archive: small, and whatever can be made again from classes and contexts alone is checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carft.core.errors import UserError
from carft.store.archive import pack, unpack
from carft.store.merge import merge
from carft.store.predictions import CELLS, COLUMNS, SHARED
from carft.store.records import Store
from reports.build import build_report
from reports.verify import verify
from tests.reports.test_verify import differences
from tests.support.helpers import run_cli
from tests.support.planted import QUICK, change_study, plant

pytestmark = pytest.mark.usefixtures("few_figures")

TASKS = ["icons/transport", "icons/weather"]
Folders = tuple[Store, Path]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("full")
    store = Store(root / "results")
    plant(store, TASKS, QUICK)
    build_report(store, root / "report")
    return store, root / "report"


@pytest.fixture(scope="module")
def compact(full: Folders, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The same results after export and import, and a report on them."""
    root = tmp_path_factory.mktemp("compact")
    pack(full[0], root / "compact.zip", compact=True)
    unpack(root / "compact.zip", root / "results")
    build_report(Store(root / "results"), root / "report")
    return Store(root / "results"), root / "report"


@pytest.fixture
def case(compact: Folders, tmp_path: Path) -> Folders:
    shutil.copytree(compact[0].root, tmp_path / "results")
    return Store(tmp_path / "results"), compact[1]


def test_classes_and_contexts_of_every_evaluation_are_what_they_were(full: Folders, compact: Folders) -> None:
    before, after = full[0], compact[0]
    assert after.ids() == before.ids()
    for cell in before.ids():
        for name in ("val", *before.evaluated(cell)):
            was = before.prediction_table(cell, name).select(list(COLUMNS)).replace_schema_metadata(None)
            assert after.prediction_table(cell, name).equals(was), (cell, name)
            assert before.has_logits(cell, name) and not after.has_logits(cell, name)


def test_the_same_records_give_the_same_bytes_also_from_the_compact_folder(compact: Folders, tmp_path: Path) -> None:
    for number, options in enumerate(({"compact": True}, {})):
        archive = tmp_path / f"{number}.zip"
        pack(compact[0], archive, **options)
        assert archive.read_bytes() == (compact[0].root.parent / "compact.zip").read_bytes()


def test_verdicts_and_accuracies_are_the_same_and_calibration_is_empty(full: Folders, compact: Folders) -> None:
    def table(folders: Folders, name: str) -> pd.DataFrame:
        return pd.read_csv(folders[1] / "tables" / f"{name}.csv")

    for name in ("claims", "verdicts", "tasks", "trials", "wise", "confusion"):
        pd.testing.assert_frame_equal(table(full, name), table(compact, name))
    assert table(full, "robustness")["ece_id"].notna().all() and table(compact, "robustness")["ece_id"].isna().all()


def test_a_report_on_a_compact_archive_is_verified_and_says_what_was_not(compact: Folders, tmp_path: Path) -> None:
    found = verify(*compact)
    assert found.holds, differences(found)
    assert any("losses and calibration are as recorded" in note for note in found.notes)
    pack(compact[0], tmp_path / "with-report.zip", compact[1])
    unpack(tmp_path / "with-report.zip", tmp_path / "theirs")
    assert verify(Store(tmp_path / "theirs"), tmp_path / "theirs" / "report").holds


def test_a_compact_archive_of_a_search_that_is_not_over_holds(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plant(store, TASKS[:1], QUICK, curves=False)
    change_study(store, TASKS[0], "ft", winner=None, confirm=[])
    pack(store, tmp_path / "compact.zip", compact=True)
    unpack(tmp_path / "compact.zip", tmp_path / "compact")
    there = Store(tmp_path / "compact")
    build_report(there, tmp_path / "report")
    found = verify(there, tmp_path / "report")
    assert found.holds, differences(found)


def test_predictions_that_do_not_give_the_metrics_or_are_missing_are_caught(case: Folders) -> None:
    store, folder = case
    cell = store.studies()[0].confirm[0]
    path = next(p for p in (store.root / SHARED).glob(f"test.*{CELLS}") if cell in pq.read_table(p)["cell"].to_pylist())
    table = pq.read_table(path)
    rows = table.to_pylist()
    number = table["cell"].to_pylist().index(cell)
    rows[number]["pred"] = rows[number]["pred"][::-1]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    found = differences(verify(Store(store.root), folder))
    assert f"{SHARED}/{path.name} was changed" in found["records"][0]
    assert any(f"cell {cell}: test/" in words for words in found["recorded"])
    for path in (store.root / SHARED).glob(f"val.*{CELLS}"):
        path.unlink()
    found = differences(verify(Store(store.root), folder))
    assert any(f"cell {cell}, val: " in words for words in found["recorded"])


def test_what_needs_logits_or_both_originals_is_refused(full: Folders, compact: Folders, tmp_path: Path) -> None:
    cell = compact[0].studies()[0].confirm[0]
    with pytest.raises(UserError, match="hold no logits"):
        compact[0].predictions(cell, "test")
    with pytest.raises(UserError, match="cannot be merged"):
        merge(full[0], compact[0], tmp_path / "both")
    refused = run_cli(
        "results", "export", tmp_path / "a.zip", "--compact", "--report", full[1], "--results", full[0].root
    )
    assert refused.returncode == 2 and "must be made from the compact records" in refused.stderr
