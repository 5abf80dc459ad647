"""A whole sweep on Ray: it counts right and repeats nothing. tests/sweeps/faults kills sweeps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from carft.config.catalog import BUILT_IN
from carft.config.resolve import command
from carft.store.records import Store
from sweeps.recipes import load_recipe
from tests.support.cards import sweep_that_fills
from tests.support.gates import Gate
from tests.support.helpers import run_cli, same_predictions

pytestmark = pytest.mark.slow

TASK = "icons/weather"
SWEEP = ("sweep", "downstream", "--smoke", "--trials", 1, "--seeds", 1, "--tasks", TASK)
METHODS = ("--methods", "zeroshot,car_ft,wise_ft")
#: zeroshot, then a trial, a confirm cell and its curve
CELLS = 1 + 1 + 1 + len(load_recipe("miniature").smoked().alphas)


def sweep(results: Path, **how: bool) -> dict[str, Any]:
    done = run_cli(*SWEEP, *METHODS, "--results", results, "--json", **how)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def records(root: Path) -> dict[str, tuple[int, bytes]]:
    found = root.glob("cells/*/record.json")
    return {path.parent.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def winners(root: Path) -> dict[str, str]:
    return {f"{s.task} {s.method}": s.winner for s in Store(root).studies()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("undisturbed")
    return root, sweep(root)


@pytest.mark.full
def test_a_sweep_of_tiny_cells_leaves_no_core_idle(tmp_path: Path, gate: Gate) -> None:
    """As it must leave no GPU idle, in the gpu lane."""
    assert sweep_that_fills(min(2, os.cpu_count() or 1), tmp_path / "results", gate) == []


def test_a_sweep_runs_every_cell_and_counts_them(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    root, counts = undisturbed
    assert (counts["cells_done"], counts["cells_failed"], counts["cells_reused"]) == (CELLS, 0, 0)
    assert len(records(root)) == CELLS
    assert all(winners(root).values())
    assert len(winners(root)) == 1


def test_a_plan_counts_what_is_left_and_rests_on_the_records(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    root, _ = undisturbed
    more = run_cli("plan", *SWEEP[1:], "--methods", "zeroshot,car_ft,l2_sp", "--results", root, "--json")
    after = json.loads(more.stdout)
    assert after["cells"] == 2  # of l2_sp a trial and a confirm cell
    assert after["done"] == 1 + 2  # curves are not asked for
    assert "on record here" in after["basis"]


def test_search_cells_are_never_unsealed(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    store = Store(undisturbed[0])
    searched = {t.cell for study in store.studies() for t in study.trials}
    assert len(searched) == 1
    for cell in store.ids():
        assert (len(store.evaluated(cell)) == 0) == (cell in searched)


def test_a_second_sweep_runs_nothing_and_touches_no_record(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    root, _ = undisturbed
    before = records(root)
    counts = sweep(root, in_process=True)
    assert (counts["cells_done"], counts["cells_failed"], counts["cells_reused"]) == (0, 0, CELLS)
    assert records(root) == before


def test_a_cell_of_a_sweep_is_the_cell_of_the_command_line_bit_for_bit(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    swept = Store(undisturbed[0])
    winner = next(s.confirm[0] for s in swept.studies() if s.method == "car_ft")
    _, _, *arguments = command(swept.read(winner).cell, str(tmp_path), catalog=BUILT_IN).split()
    done = run_cli(*arguments, "--unseal", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cell"] == winner
    assert json.loads(done.stdout)["metrics"] == swept.metrics(winner)
    for name in ("val", *swept.evaluated(winner)):
        assert same_predictions(Store(tmp_path).predictions(winner, name), swept.predictions(winner, name)), name
