"""Cached pixels, heads and features that somebody changes: they are not used, or records tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import carft.data.icons.tasks
import carft.training.context
from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.core.array_cache import array_digest
from carft.core.files import write_json
from carft.data.icons.world import BUILT_IN_WEIGHTS, attested_pixels
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from reports.evidence.findings import What
from reports.evidence.inputs import input_findings
from reports.evidence.protocol_check import ProtocolCheck
from tests.support.helpers import LR, TASK, quick_cell, same_predictions

pytestmark = pytest.mark.slow

#: findings of what a cell read from a cache
OF_CACHES = {What.OTHER_PIXELS, What.OTHER_HEADS, What.OTHER_FEATURES}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """As a process that has opened nothing."""
    yield
    forget()


def forget() -> None:
    carft.data.icons.tasks.opened_images.cache_clear()
    carft.training.context.prompts_of.cache_clear()


def change(folder: Path, pattern: str) -> None:
    """Change every cached array of a kind, and give it the name that its new content has."""
    paths = list(folder.glob(pattern))
    assert paths
    for path in paths:
        values = np.load(path)
        changed = values[::-1].copy()
        np.save(path, changed)
        path.rename(path.with_name(f"{path.stem.rpartition('-')[0]}-{array_digest(changed)}.npy"))
    forget()


def test_changed_pixels_of_a_built_in_world_are_not_used(store: Store, tmp_path: Path) -> None:
    execution, clean = Execution(feature_cache=str(tmp_path / "cache")), Store(tmp_path / "clean")
    first, second = (quick_cell("ft", seed, lr=LR) for seed in (1, 2))
    run_cell(first, store, execution)
    change(tmp_path / "cache", "icons-[!d]*.npy")
    run_cell(second, store, execution)
    forget()
    run_cell(second, clean, Execution())
    assert same_predictions(store.predictions(second.id, "val"), clean.predictions(second.id, "val"))
    records = {record.id: record for record in store.records()}
    assert not list(input_findings(store, records))
    assert not list((tmp_path / "cache").glob("heads-*"))
    used = records[second.id].provenance["pixels"]
    assert used == {name: attested_pixels("icons-3", TASK)[name] for name in ("train", "val")}


def test_records_tell_of_changed_heads_and_features(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    execution = Execution(feature_cache=str(cache))
    # a file: heads of models that are built in are not stored
    weights = str(BUILT_IN_WEIGHTS["icons-resnet", "icons-3"])
    cells = [
        specify(TASK, "car_ft", {"lr": rate * LR, "kl_weight": 1.0}, 0, Training(epochs=1), None, pretrained=weights)
        for rate in (1, 2, 3, 4)
    ]
    for cell in cells[:2]:
        run_cell(cell, store, execution)
    check = ProtocolCheck(store, {record.id: record for record in store.records()}, [], store.catalog)
    assert not OF_CACHES & {one.what for of_study in check.departures.values() for one in of_study}
    change(cache, "heads-*.npy")
    run_cell(cells[2], store, execution)
    for path in cache.glob("heads-*.npy"):
        path.unlink()
    change(cache, "[!hi]*-0-*.npy")
    run_cell(cells[3], store, execution)
    records = {record.id: record for record in store.records()}
    found = {(finding.facts["cell"], finding.what) for finding in input_findings(store, records)}
    assert found == {(cells[2].id, What.OTHER_HEADS), (cells[3].id, What.OTHER_FEATURES)}
    check = ProtocolCheck(store, records, [], store.catalog)
    assert len([one for of_study in check.departures.values() for one in of_study if one.what in OF_CACHES]) == 2


def test_pixels_that_are_not_the_attested_ones_are_named_though_all_cells_agree(store: Store) -> None:
    cells = [quick_cell("ft", seed, lr=LR) for seed in (1, 2)]
    for cell in cells:
        run_cell(cell, store, Execution())
        path = store.folder(cell.id) / "record.json"
        record = store.read(cell.id)
        provenance = {**record.provenance, "pixels": {**record.provenance["pixels"], "val": "0" * 32}}
        content = {"schema_version": 1, "cell": cell.id, "metrics": record.metrics, "provenance": provenance}
        write_json(path, {**content, "durations": record.durations})
    records = {cell.id: replace(store.read(cell.id)) for cell in cells}
    found = list(input_findings(store, records))
    assert {one.what for one in found} == {What.NOT_ATTESTED_PIXELS}
    assert {(one.facts["cell"], one.facts["set"]) for one in found} == {(cell.id, "val") for cell in cells}
