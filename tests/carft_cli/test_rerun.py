"""`report verify --rerun`: cells run again, on the machine that their records name and on another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.core.files import write_json
from carft.core.metrics import score, with_prefix
from carft.store.predictions import write_predictions
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from carft_cli.rerun import drawn_sides, with_reruns
from reports.build import sources_of
from reports.evidence.reruns import RerunAnswer
from reports.verify import Verification
from tests.support.helpers import LR, TASK, cli_command, environment, made_up_study, quick_cell
from tests.support.planted import QUICK, plant, write

SEEDS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Real confirm cells of one study."""
    store = Store(tmp_path_factory.mktemp("real") / "results")
    cells = [quick_cell("ft", seed, lr=LR) for seed in SEEDS]
    for cell in cells:
        run_cell(cell, store, Execution())
    confirm = [cell.id for cell in cells]
    store.write_study("s", made_up_study(task=TASK, confirm=confirm, winner=cells[0].id))
    return store


@pytest.fixture
def case(trained: Store, tmp_path: Path) -> Iterator[Store]:
    """The folder, whose first cell a test may change; it is put back."""
    kept = {path: path.read_bytes() for path in trained.folder(cell_of(trained)).iterdir() if path.is_file()}
    yield trained
    for path, content in kept.items():
        path.write_bytes(content)


def cell_of(store: Store) -> str:
    return quick_cell("ft", SEEDS[0], lr=LR).id


def rerun(store: Store) -> Verification:
    return with_reruns(Verification((), (), ""), store, list(store.records()), len(SEEDS), None)


def change(store: Store, **provenance: Any) -> None:
    path = store.folder(cell_of(store)) / "record.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["provenance"] |= provenance
    write_json(path, content)


def forge(store: Store) -> None:
    """Predictions that no training gave, with the metrics that follow from them."""
    cell = cell_of(store)
    given = store.predictions(cell, "val")
    better = np.where(np.arange(len(given.labels)) % 10 < 9, given.labels, (given.labels + 1) % given.logits.shape[1])
    logits = np.zeros_like(given.logits)
    logits[np.arange(len(better)), better] = 9.0
    forged = replace(given, logits=logits)
    write_predictions(forged, store.predictions_path(cell, "val"))
    path = store.folder(cell) / "record.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metrics"] |= with_prefix("val", score(forged))
    write_json(path, content)


@pytest.mark.slow
def test_on_another_machine_classes_must_agree_as_those_of_two_seeds_do(case: Store) -> None:
    assert not rerun(case).checks[0].differences
    change(case, cpu={"model": "another", "instructions": "AVX2"})
    honest = rerun(case)
    (note,) = honest.notes
    assert not honest.checks[0].differences and note.facts["rerun"].answer == RerunAnswer.AS_SEEDS
    forge(case)
    (found,) = rerun(case).checks[0].differences
    assert found.facts["rerun"].cell == cell_of(case)
    assert found.facts["rerun"].answer == RerunAnswer.UNLIKE_SEEDS


@pytest.mark.full
@pytest.mark.slow
def test_variables_of_processor_libraries_change_no_bit_of_a_cell(case: Store, tmp_path: Path) -> None:
    import subprocess

    cell = case.read(cell_of(case))
    variables = {"MKL_CBWR": "COMPATIBLE", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    options = ("--task", TASK, "--method", "ft", "--lr", LR, "--seed", SEEDS[0], "--epochs", 1, "--device", "cpu")
    command = cli_command("train", *options, "--results", tmp_path / "again", "--feature-cache", "none")
    done = subprocess.run(command, env={**environment(), **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = Store(tmp_path / "again").read(cell.id)
    assert again.metrics == cell.metrics and "environment" not in again.provenance


def test_cells_behind_verdicts_are_drawn_with_the_other_side_of_their_difference(store: Store) -> None:
    plant(store, ["icons-3/all"], QUICK, curves=True)
    for seed in range(20, 40):  # no verdict rests on these
        write(
            store,
            specify("icons-3/all", "ft", {"lr": 1e-3}, seed, Training(epochs=1)),
            0.9,
            0.9,
            replace(QUICK, groups=2),
        )
    verdicts = [verdict for verdict in sources_of(store).verdicts if verdict.claim == "C3"]
    confirmed = {cell for study in store.studies() for cell in study.confirm}
    for count in (1, 2, 3):
        drawn = drawn_sides(store, list(store.records()), count, verdicts)
        assert {record.id for record in drawn} <= confirmed and len(drawn) == 2 * -(-count // 2)
        for record in drawn:
            others = [other.cell for other in drawn if other.cell.seed == record.cell.seed]
            assert {cell.method for cell in others} == {"ft", "car_ft"}
