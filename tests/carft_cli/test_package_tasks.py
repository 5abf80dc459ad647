"""Tasks of an installed package through every command, then without the package."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.store.records import Store
from tests.support.helpers import ROOT, environment, run_cli
from tests.support.packages import install_shapes, on_path

pytestmark = pytest.mark.slow
MISSING = "comes from the package 'shapes-tasks' (entry point 'shapes' of carft.data), which is not installed here"


class Project:
    """A results folder, and commands in an environment with or without the package."""

    def __init__(self, root: Path) -> None:
        self.site, self.results, self.report = root / "site", root / "results", root / "report"
        install_shapes(self.site)

    def run(self, *arguments: object, installed: bool = True) -> subprocess.CompletedProcess[str]:
        results = () if arguments[0] == "data" or ".zip" in str(arguments[-1]) else ("--results", self.results)
        with on_path(*[self.site] if installed else []):
            return run_cli(*arguments, *results, in_process=True)

    def ok(self, *arguments: object, installed: bool = True) -> Any:
        done = self.run(*arguments, "--json", installed=installed)
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, few_figures: None) -> Project:
    """A smoke sweep over the two tasks of the package, with workers of Ray, and the report on it."""
    project = Project(tmp_path_factory.mktemp("package"))
    sweep = ("sweep", "downstream", "--smoke", "--tasks", "shapes", "--methods", "zeroshot,ft,car_ft")
    planned = project.run("plan", *sweep[1:])
    assert planned.returncode == 0 and "shapes/round" in planned.stdout + planned.stderr, planned.stderr
    path = os.pathsep.join(map(str, [ROOT, project.site]))
    swept = run_cli(*sweep, "--results", project.results, "--json", env={**environment(), "PYTHONPATH": path})
    assert swept.returncode == 0, swept.stderr
    assert json.loads(swept.stdout)["cells_failed"] == 0
    project.ok("report", "--out", project.report)
    return project


def test_with_the_package_its_tasks_are_listed_swept_pooled_and_verified(project: Project) -> None:
    listed = {row["task"]: row for row in project.ok("ls", "tasks")}
    assert listed["shapes/tilted"]["suites"] == ["small"] and "icons/tools" in listed
    checked = project.run("data", "check", "shapes/round", "--data", "elsewhere")
    assert checked.returncode == 2 and "the package 'shapes-tasks'" in checked.stderr
    tasks = pd.read_csv(project.report / "tables" / "tasks.csv")
    assert set(tasks["scope"]) == {"shapes"} and set(tasks["task"]) == {"shapes/round", "shapes/tilted"}
    assert list((project.report / "pictures").glob("*.jpg"))
    assert project.ok("report", "verify", "--out", project.report)["holds"]
    assert project.ok("report", "why", "tasks.shapes/round/ft.test_top1")["cells"]
    assert project.run("plan", "downstream", "--smoke").returncode == 0
    assert Store(project.results).read(Store(project.results).ids()[0]).cell.plugin


def test_without_the_package_reports_hold_and_other_commands_name_it(project: Project, tmp_path: Path) -> None:
    def without(*arguments: object) -> Any:
        return project.ok(*arguments, installed=False)

    again = tmp_path / "report"
    assert without("report", "--out", again, "--no-images")["verdicts"]
    assert pd.read_csv(again / "tables" / "tasks.csv").equals(pd.read_csv(project.report / "tables" / "tasks.csv"))
    assert without("report", "verify", "--out", project.report)["holds"]
    assert without("report", "why", "tasks.shapes/round/ft.test_top1")["cells"]
    cell = without("ls", "cells")[0]["cell"]
    assert without("show", cell)["cell"] == cell and without("status")["cells"]
    for asked in (
        ("sweep", "downstream", "--smoke", "--tasks", "shapes/round", "--methods", "ft", "--trials", 2),
        ("plan", "downstream", "--smoke", "--tasks", "shapes/round"),
        ("train", "--task", "shapes/round", "--method", "ft", "--lr", 1e-4),
    ):
        refused = project.run(*asked, installed=False)
        said = " ".join((refused.stdout + refused.stderr).split())
        assert refused.returncode in (1, 2) and MISSING in said, said
        assert "Traceback" not in refused.stderr
    assert project.run("plan", "downstream", "--smoke", installed=False).returncode == 0
    archive = tmp_path / "archive.zip"
    without("results", "export", archive)
    theirs = tmp_path / "theirs"
    verify = ("report", "verify", "--results", theirs, "--out", project.report)
    for command in (("results", "import", archive, "--to", theirs), verify):
        with on_path():
            done = run_cli(*command, in_process=True)
        assert done.returncode == 0, done.stdout + done.stderr
