"""A whole sweep on Ray, of a built-in task and of an installed package, and what commands say of it, also without it.

tests/sweeps/faults kills sweeps.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import command
from carft.store.records import Store
from sweeps.recipes.loading import load_recipe
from tests.support.cards import sweep_that_fills
from tests.support.gates import Gate
from tests.support.helpers import ROOT, run_cli, same_predictions
from tests.support.packages import install_shapes, on_path
from tests.support.serial import without_ray

pytestmark = pytest.mark.slow

TASK = "icons-3/mix-9"
SHAPE = "shapes/round"
PROTOCOL = ("downstream", "--smoke", "--trials", 1)
SWEEP = ("sweep", *PROTOCOL, "--seeds", 1, "--tasks", f"{TASK},{SHAPE}", "--methods", "zeroshot,car_ft,wise_ft")
#: what is done before the sweep and without Ray: where jobs of two packages alternate, each job starts a process
BEFORE = ("sweep", *PROTOCOL, "--seeds", 1, "--tasks", TASK, "--methods", "car_ft")
#: of each task zeroshot, then a trial, a confirm cell and its curve
CELLS = 2 * (1 + 1 + 1 + len(load_recipe("miniature").smoked().alphas))
COUNTS = ("cells_done", "cells_failed", "cells_reused")


class Project:
    """A results folder, its report, and commands in an environment with or without the package."""

    def __init__(self, root: Path) -> None:
        self.site, self.results, self.report = root / "site", root / "results", root / "report"
        install_shapes(self.site)
        self.before: dict[str, Any] = {}
        self.swept: dict[str, Any] = {}

    def run(self, *arguments: object, installed: bool = True) -> subprocess.CompletedProcess[str]:
        results = () if arguments[0] == "data" or ".zip" in str(arguments[-1]) else ("--results", self.results)
        with on_path(*[self.site] if installed else []):
            return run_cli(*arguments, *results, in_process=True)

    def ok(self, *arguments: object, installed: bool = True) -> Any:
        done = self.run(*arguments, "--json", installed=installed)
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    @property
    def records(self) -> dict[str, tuple[int, bytes]]:
        paths = self.results.glob("cells/*/record.json")
        return {path.parent.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, few_figures: None) -> Iterator[Project]:
    """The sweep, with workers of Ray that find the package as this process does, and the report on it."""
    project = Project(tmp_path_factory.mktemp("package"))
    with without_ray():
        project.before = project.ok(*BEFORE)
    planned = project.run("plan", *SWEEP[1:])
    assert planned.returncode == 0 and "shapes/round" in planned.stdout + planned.stderr, planned.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, [ROOT, project.site])))
        patch.setenv("RAY_RUNTIME_ENV_HOOK", "tests.support.drawn.runtime_env")
        project.swept = project.ok(*SWEEP)
    project.ok("report", "--out", project.report)
    yield project


@pytest.mark.full
def test_a_sweep_of_tiny_cells_leaves_no_core_idle(tmp_path: Path, gate: Gate) -> None:
    """As it must leave no GPU idle, in the gpu lane."""
    assert sweep_that_fills(min(2, os.cpu_count() or 1), tmp_path / "results", gate) == []


def test_a_sweep_runs_every_cell_and_counts_them(project: Project) -> None:
    first, then = ([swept[name] for name in COUNTS] for swept in (project.before, project.swept))
    assert first == [2, 0, 0] and then == [CELLS - 2, 0, 2] and len(project.records) == CELLS
    studies = Store(project.results).studies()
    assert sorted(study.task for study in studies) == [TASK, SHAPE] and all(study.winner for study in studies)


def test_a_plan_counts_what_is_left_and_rests_on_the_records(project: Project) -> None:
    asked = ("--seeds", 1, "--tasks", TASK, "--methods", "zeroshot,car_ft,l2_sp")
    planned = project.ok("plan", *PROTOCOL, *asked)
    assert planned["cells"] == 2  # of l2_sp a trial and a confirm cell
    assert planned["done"] == 1 + 2  # curves are not asked for
    assert "on record here" in planned["basis"]


def test_search_cells_are_never_unsealed(project: Project) -> None:
    store = Store(project.results)
    searched = {trial.cell for study in store.studies() for trial in study.trials}
    assert len(searched) == 2
    for cell in store.ids():
        assert (len(store.evaluated(cell)) == 0) == (cell in searched)


def test_a_second_sweep_runs_nothing_and_touches_no_record(project: Project) -> None:
    before, again = project.records, project.ok(*SWEEP)
    assert [again[name] for name in COUNTS] == [0, 0, CELLS]
    assert project.records == before


def test_a_cell_of_a_sweep_is_the_cell_of_the_command_line_bit_for_bit(project: Project, tmp_path: Path) -> None:
    swept = Store(project.results)
    winner = next(study.confirm[0] for study in swept.studies() if study.task == SHAPE)
    with on_path(project.site):
        _, _, *arguments = command(swept.read(winner).cell, str(tmp_path), catalog=BUILT_IN).split()
        done = run_cli(*arguments, "--unseal", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cell"] == winner
    assert json.loads(done.stdout)["metrics"] == swept.metrics(winner)
    for name in ("val", *swept.evaluated(winner)):
        assert same_predictions(Store(tmp_path).predictions(winner, name), swept.predictions(winner, name)), name


def test_with_the_package_its_tasks_are_listed_swept_reported_and_verified(project: Project) -> None:
    listed = {row["task"]: row for row in project.ok("ls", "tasks")}
    assert listed["shapes/tilted"]["suites"] == ["small"] and "icons-3/mix-6" in listed
    checked = project.run("data", "check", "shapes/round", "--data", "elsewhere")
    assert checked.returncode == 2 and "names no data set" in checked.stderr
    tasks = pd.read_csv(project.report / "tables" / "tasks.csv")
    assert set(tasks["task"]) == {TASK, SHAPE}
    assert list((project.report / "pictures").glob("*.jpg"))
    assert project.ok("report", "verify", "--out", project.report)["holds"]
    assert project.ok("report", "why", "tasks.shapes/round/car_ft.test_top1")["cells"]
    records = Store(project.results).records()
    assert all(bool(record.cell.plugin) == (record.cell.task == SHAPE) for record in records)


def test_without_the_package_the_other_task_is_reported_and_commands_name_the_missing_one(
    project: Project, tmp_path: Path
) -> None:
    assert project.ok("report", "--out", tmp_path / "report", "--no-images", installed=False)["verdicts"]
    reported = pd.read_csv(tmp_path / "report" / "tables" / "tasks.csv")
    assert set(reported["task"]) == {TASK}
    cells = project.ok("ls", "cells", installed=False)
    assert {row["task"] for row in cells} == {TASK, SHAPE}
    for asked in (
        ("sweep", "downstream", "--smoke", "--tasks", SHAPE, "--methods", "ft", "--trials", 2),
        ("train", "--task", SHAPE, "--method", "ft", "--lr", 1e-4),
    ):
        refused = project.run(*asked, installed=False)
        assert refused.returncode == 2 and "There is no task" in refused.stderr, refused.stderr
