"""Results of an earlier version: the present version reads them, writes them back unchanged, and goes on from them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from carft.config.catalog import BUILT_IN
from carft.core.errors import UserError
from carft.core.files import write_json
from carft.store.archive import LICENCES, MANIFEST, pack, unpack
from carft.store.journal import as_line
from carft.store.listing import list_cells, list_studies
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from tests.support.helpers import run_cli
from tests.support.serial import run_serially

ARCHIVE = Path(__file__).parent / "archives" / "results-0.1.0.zip"
CELLS = 5


@pytest.fixture
def store(tmp_path: Path) -> Store:
    assert unpack(ARCHIVE, tmp_path / "results").cells == CELLS
    return Store(tmp_path / "results")


def test_every_file_is_read_and_written_back_unchanged(store: Store, tmp_path: Path) -> None:
    assert len(list_cells(store)) == CELLS and {row["done"] for row in list_studies(store)} == {1}
    for name in store.study_names():
        path = store.root / "studies" / name / "study.json"
        before = path.read_bytes()
        study = store.study(name)
        assert study is not None
        store.write_study(name, study)
        assert path.read_bytes() == before
    for cell in store.ids():
        for path, found in zip(store.evaluation_paths(cell), store.evaluations(cell).values(), strict=True):
            write_json(tmp_path / "again.json", found.content())
            assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    log = "".join(map(as_line, store.unsealings()))
    assert log and log == (store.root / "unsealed.jsonl").read_text()


def manifest_of(archive: Path) -> dict[str, Any]:
    with zipfile.ZipFile(archive) as stream:
        content = json.loads(stream.read(MANIFEST))
    del content["carft"], content["numerics"], content["data"], content["files"][LICENCES]  # of this version
    return content


def test_the_manifest_of_the_same_results_is_the_same(store: Store, tmp_path: Path) -> None:
    pack(store, tmp_path / "again.zip")
    found = manifest_of(tmp_path / "again.zip")
    assert found == manifest_of(ARCHIVE) and len(found["files"]) > CELLS


def test_a_key_of_a_later_version_is_kept_and_a_missing_one_gets_its_default(store: Store) -> None:
    name = store.study_names()[0]
    path = store.root / "studies" / name / "study.json"
    content = json.loads(path.read_text()) | {"of_a_later_version": [1, 1.0, {"a": None}]}
    del content["reading"], content["round_size"]
    write_json(path, content)
    before, study = path.read_bytes(), store.study(name)
    assert study is not None and (study.reading, study.round_size) == ({}, 1)
    store.write_study(name, study)
    assert path.read_bytes() == before


def assert_reported(store: Store, out: Path) -> None:
    for command in (("report",), ("report", "verify")):
        done = run_cli(*command, "--results", store.root, "--out", out)
        assert done.returncode == 0, done.stdout + done.stderr


def test_old_results_are_reported_and_verified(store: Store, tmp_path: Path) -> None:
    """The archive is of world icons-1, whose drawings are not here any more."""
    assert_reported(store, tmp_path / "report")


@pytest.mark.slow
@pytest.mark.full
def test_a_sweep_adds_to_old_results(store: Store, tmp_path: Path) -> None:
    before = {cell: (store.folder(cell) / "record.json").read_bytes() for cell in store.ids()}
    small = ("--smoke", "--tasks", "icons/transport", "--methods", "zeroshot,ft,car_ft")
    done = run_serially("sweep", "miniature", *small, "--results", store.root)
    assert done.returncode == 0, done.stderr
    assert {store.read(cell).cell.data_version for cell in store.ids() if cell not in before} == {"icons-2"}
    assert all((store.folder(cell) / "record.json").read_bytes() == content for cell, content in before.items())
    assert_reported(store, tmp_path / "report")


def test_a_cell_of_an_earlier_world_is_not_run_again(store: Store) -> None:
    old = next(store.read(cell).cell for cell in store.ids())
    with pytest.raises(UserError, match="icons-1") as refused:
        CellContext.of(old, Execution(), catalog=BUILT_IN)
    assert refused.value.hint is not None and "carft 0.1.0" in refused.value.hint
