"""The comparison of two results folders finds a changed metric, prediction, history and weight, and a missing cell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from carft.spec.cell import Cell
from carft.store.records import Store
from tests.support.compare_results import differences


@pytest.fixture
def copy(finished: Store, tmp_path: Path) -> Store:
    """A copy of the finished cells, free to be changed."""
    shutil.copytree(finished.root, tmp_path / "copy")
    return Store(tmp_path / "copy")


def test_a_copy_is_identical(finished: Store, copy: Store) -> None:
    assert list(differences(finished, copy)) == []


def test_a_missing_cell_is_found(finished: Store, copy: Store, cells: dict[str, Cell]) -> None:
    shutil.rmtree(copy.folder(cells["ft"].id))
    assert list(differences(finished, copy)) == [f"{cells['ft'].id}: only in the first folder"]


def test_two_empty_folders_are_no_evidence(tmp_path: Path) -> None:
    assert list(differences(Store(tmp_path / "a"), Store(tmp_path / "b"))) == ["there are no cells"]


def _metric(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    record["metrics"]["val/loss"] = float(np.nextafter(record["metrics"]["val/loss"], 9))
    (folder / "record.json").write_text(json.dumps(record))


def _column(path: Path, name: str) -> None:
    table = pq.read_table(path)
    values = table[name].to_pylist()
    values[0] = np.nextafter(np.float64(values[0]), 9) if np.isscalar(values[0]) else [v + 1e-3 for v in values[0]]
    field = table.schema.field(name)
    changed = table.set_column(table.column_names.index(name), field, pa.array(values, field.type))
    pq.write_table(changed, path)


def _weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"][0] = np.nextafter(weights["head.bias"][0], 9)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_metric, "metric val/loss differs"),
        (lambda folder: _column(folder / "history.parquet", "grad_norm"), "history column grad_norm differs"),
        (lambda folder: _column(folder / "predictions.parquet", "logits"), "predictions on val differ"),
        (_weight, "weight head.bias differs"),
    ],
)
def test_a_changed_bit_is_found(finished: Store, copy: Store, cells: dict[str, Cell], change, expected: str) -> None:
    cell = cells["car_ft"].id
    change(copy.folder(cell))
    assert list(differences(finished, copy)) == [f"{cell} car_ft: {expected}"]
