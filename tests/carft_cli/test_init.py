"""A project folder for one's own data, and the page that leads from a table to a verdict."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.data.folder.named import checked_name
from carft.data.folder.tasks_file import tasks_in
from carft.data.sets import DataSet
from carft_cli.init import task_name
from sweeps.recipes import load_recipe
from tests.carft.data.test_tables import rows_of
from tests.support.helpers import ROOT, environment, run_cli


@given(st.text(max_size=80))
def test_any_folder_has_a_name_for_its_task(given_name: str) -> None:
    assert checked_name(task_name(given_name))


def test_a_project_folder_is_written_once_and_its_files_are_read(tmp_path: Path) -> None:
    DataSet("pets", "pets", "", (), {}, "", "", "carft.data.folder.layout").fixture(tmp_path)
    asked = ("init", tmp_path / "pets", "--to", tmp_path / "audit", "--model", "icons-resnet", "--pretrained", "icons")
    written = run_cli(*asked, "--json")
    assert written.returncode == 0, written.stderr
    assert json.loads(written.stdout)["task"] == "my-pets"
    (task,) = tasks_in(tmp_path / "audit" / "carft.yaml")
    assert (task.id_domains, task.ood_domains, task.classes[2]) == (("photo",), ("scan", "sketch"), "guinea pig")
    recipe = load_recipe(str(tmp_path / "audit" / "recipe.yaml"))
    assert (recipe.model, recipe.tasks_file) == ("icons-resnet", str(tmp_path / "audit" / "carft.yaml"))
    readme = (tmp_path / "audit" / "README.md").read_text()
    assert readme.count("\npython cli.py ") == 3 and "$" not in readme
    assert "../pets" in (tmp_path / "audit" / "carft.yaml").read_text()
    plain = run_cli(*asked[:3], tmp_path / "other")
    assert "Trained on: photo; held out: scan, sketch." in plain.stdout and "Task my-pets: " in plain.stdout
    again = run_cli(*asked)
    assert again.returncode == 2 and "exists already" in again.stderr


@pytest.mark.slow
@pytest.mark.full
def test_every_step_of_the_page_on_your_data_runs(tmp_path: Path) -> None:
    pd.DataFrame(rows_of(tmp_path)).to_csv(tmp_path / "images.csv", index=False)
    page = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python cli\.py (.*)$", page, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        asked = [sys.executable, str(ROOT / "cli.py"), *shlex.split(line)]
        done = subprocess.run(asked, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "my-audit" / "report" / "index.html").is_file()
    verdicts = pd.read_csv(tmp_path / "my-audit" / "report" / "tables" / "verdicts.csv")
    assert {"C3", "C4"} <= set(verdicts["claim"])
