"""The same cell and execution give the same bits, and a finished cell is never touched again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.helpers import quick_cell, same_predictions

SETS = ("val", "test", "ood/hands", "ood/renditions", "ood/sketches", "ood/adversarial", "ood/viewpoint")


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Path -> modification time and content of every file under a folder."""
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*") if p.is_file()}


def test_a_cell_gives_the_same_bits_in_another_folder_after_other_cells(
    finished: Store, store: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    run_cell(quick_cell("ft", seed=6, lr=1e-4), store, execution)
    torch.manual_seed(3)
    cell = cells["car_ft"]
    outcome = run_cell(cell, store, execution, unseal=True)
    assert outcome.status == "done"
    assert dict(outcome.metrics) == finished.metrics(cell.id)
    for name in SETS:
        assert same_predictions(store.predictions(cell.id, name), finished.predictions(cell.id, name)), name


def test_unsealing_later_gives_what_unsealing_at_once_gives(
    finished: Store, store: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    """Also when the search kept no weights, so that they have to be made again."""
    cell = cells["car_ft"]
    run_cell(cell, store, execution)
    assert store.evaluated(cell.id) == set()
    assert not store.weights_path(cell.id).exists()
    record = (store.folder(cell.id) / "record.json").read_bytes()
    assert dict(run_cell(cell, store, execution, unseal=True).metrics) == finished.metrics(cell.id)
    assert (store.folder(cell.id) / "record.json").read_bytes() == record


def test_a_finished_cell_is_reused_and_no_file_is_touched(
    store: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    first = run_cell(cells["ft"], store, execution, unseal=True)
    before = snapshot(store.root)
    second = run_cell(cells["ft"], store, execution, unseal=True)
    assert (first.status, second.status) == ("done", "reused")
    assert dict(first.metrics) == dict(second.metrics)
    assert snapshot(store.root) == before


def test_weights_are_kept_when_asked_for_and_give_the_recorded_predictions(
    finished: Store, store: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    run_cell(cells["ft"], store, execution, keep_weights=True)
    assert store.weights_path(cells["ft"].id).is_file()
    run_cell(cells["ft"], store, execution, unseal=True)
    for name in SETS:
        assert same_predictions(store.predictions(cells["ft"].id, name), finished.predictions(cells["ft"].id, name))


def test_cells_that_cannot_be_run_are_refused(store: Store, execution: Execution, cells: dict[str, Cell]) -> None:
    spec = cells["ft"].as_dict()
    for wrong, message in (
        ({"precision": "float8"}, "float8"),
        ({"data_version": "icons-0"}, "icons-0"),
        ({"method": "wise_ft", "hyperparameters": {"alpha": 0.5}}, "interpolate"),
        ({"hyperparameters": {}}, "learning rate"),
    ):
        with pytest.raises(UserError, match=message):
            run_cell(Cell.from_dict({**spec, **wrong}), store, execution)
    assert store.ids() == []


def test_a_record_says_where_it_comes_from(finished: Store, cells: dict[str, Cell]) -> None:
    provenance = finished.read(cells["car_ft"].id).provenance
    assert provenance["packages"]["torch"] == torch.__version__
    assert provenance["cpu"]["instructions"] == torch.backends.cpu.get_cpu_capability() and provenance["cpu"]["model"]
    assert provenance["execution"] == {"device": "cpu", "workers": 1, "threads": 1}
    digests = provenance["digests"]
    assert {"drawings", "pixels", "weights"} <= set(digests)
    assert all(len(digests[name]) == 64 for name in ("drawings", "pixels", "weights"))
