"""The command line as scripts use it: names, exit codes, and JSON alone on stdout."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
import typer

from carft.store import mirror
from carft.store.records import Store
from carft_cli.answer import show
from carft_cli.app import app
from carft_cli.console import out
from tests.support.helpers import LR, ROOT, TASK, environment, run_cli

TRAIN = ("train", "--task", TASK, "--method", "car_ft", "--lr", LR, "--kl-weight", 1, "--epochs", 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A results folder with one cell, and what the command that made it printed."""
    root = tmp_path_factory.mktemp("trained")
    done = run_cli(*TRAIN, "--results", root, "--json")
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout)


def test_train_prints_json_alone(trained: tuple[Path, dict]) -> None:
    _, printed = trained
    assert set(printed) == {"cell", "status", "metrics"}
    assert printed["status"] == "done"
    assert printed["metrics"]["val/top1"] == pytest.approx(printed["metrics"]["val/top1"])


def test_the_command_line_gives_the_bits_of_the_library(trained: tuple[Path, dict], finished: Store) -> None:
    root, printed = trained
    first, second = (s.predictions(printed["cell"], "val").logits for s in (Store(root), finished))
    assert first.tobytes() == second.tobytes()


def test_the_same_command_again_reuses_the_cell(trained: tuple[Path, dict]) -> None:
    root, printed = trained
    done = run_cli(*TRAIN, "--results", root, "--json")
    assert json.loads(done.stdout) == {**printed, "status": "reused"}
    assert "status: reused" in run_cli(*TRAIN, "--results", root).stdout


@pytest.mark.parametrize("kind", ["tasks", "methods", "cells", "studies"])
def test_listings_are_lists(trained: tuple[Path, dict], kind: str) -> None:
    done = run_cli("ls", kind, "--results", trained[0], "--json")
    rows = json.loads(done.stdout)
    assert isinstance(rows, list)
    names = {"tasks": TASK, "methods": "car_ft", "cells": trained[1]["cell"]}
    if kind in names:
        assert names[kind] in [next(iter(row.values())) for row in rows]
        assert run_cli("ls", kind, "--results", trained[0]).returncode == 0


def test_show_gives_the_command_that_makes_the_cell_again(trained: tuple[Path, dict], tmp_path: Path) -> None:
    root, printed = trained
    shown = json.loads(run_cli("ls", "cells", printed["cell"][:6], "--results", root, "--json").stdout)
    assert shown["cell"] == printed["cell"]
    assert shown["metrics"] == printed["metrics"]
    assert shown["provenance"]["numerics"] >= 1
    python, script, *arguments = shlex.split(shown["command"])
    assert (python, script) == ("python", "cli.py")
    assert str(root) not in arguments  # there it would find the cell done and run nothing
    elsewhere = [str(tmp_path) if part == "again" else part for part in arguments]
    again = json.loads(run_cli(*elsewhere, "--json").stdout)
    assert again == {**printed, "status": "done"}


def named_commands(command: Any, name: str = "") -> dict[str, Any]:
    """Every command that is listed, by its name; a group stands for what it does without a subcommand."""
    found = {name: command} if name and getattr(command, "invoke_without_command", True) else {}
    for sub, inner in getattr(command, "commands", {}).items():
        found |= {} if inner.hidden else named_commands(inner, f"{name} {sub}".strip())
    return found


def test_the_help_of_every_command_shows_an_example() -> None:
    commands = named_commands(typer.main.get_command(app))
    assert len(commands) == 17
    for name, command in commands.items():
        assert f"Example: `python cli.py {name}" in " ".join(str(command.help).split()), name


#: packages that take longer to import than many commands run
SLOW, SLOW_FOR_COMMANDS = {"torch", "ray", "open_clip", "optuna"}, {"numpy", "pandas", "pyarrow"}


def test_what_starts_fast_imports_neither_torch_nor_ray_and_the_process_of_a_sweep_no_torch() -> None:
    code = (
        f"import pkgutil, sys; import cli; print(sorted({SLOW | SLOW_FOR_COMMANDS} & set(sys.modules)));"
        "import carft.store.records, carft.config.registry, carft.catalog.resolve, reports;"
        "[__import__('reports.' + module.name) for module in pkgutil.iter_modules(reports.__path__)];"
        f"print(sorted({SLOW} & set(sys.modules)));"
        "import sweeps.ray_backend.driver, sweeps.ray_backend.trainable;"
        f"print(sorted({SLOW - {'ray'}} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["[]", "[]", "[]"], done.stdout + done.stderr


ID = "0123456789abcdef"
LONG = "pictures-of-animals/photo-and-infrared-to-scan,sketch"


def shown(rows: list[dict[str, object]], width: int) -> str:
    with patch.object(out, "_width", width), out.capture() as captured:
        show([rows])
    return captured.get()


def test_rows_are_a_table_where_they_fit_and_else_a_line_for_each_field() -> None:
    rows = [{"cell": ID, "task": LONG, "note": "東京"}, {"cell": ID, "task": "x", "left": 0.12345}]
    head, *lines = shown(rows, 120).splitlines()
    assert head.split() == ["cell", "task", "note", "left"] and lines[1].split() == [ID, "x", "-", "0.1235"]
    narrow = shown(rows, 60).splitlines()
    assert narrow == [ID, f"  task: {LONG}", "  note: 東京", ID, "  task: x", "  left: 0.1235"]


def test_a_path_with_brackets_is_shown_as_it_is() -> None:
    path = "/data/[old]/[/red]photos"
    refused = run_cli("init", path)
    assert refused.returncode == 2
    assert f"'{path}'" in refused.stderr
    assert path in shown([{"task": path}], 80)


def test_the_help_shows_first_what_everyone_needs() -> None:
    first, more = run_cli("--help").stdout.split(" Commands ")[1].split(" More ")
    assert re.findall(r"│ ([a-z]+) ", first) == ["init", "sweep", "status", "report"]
    rest = ["plan", "train", "combine", "ls", "results", "model", "data"]
    assert re.findall(r"│ ([a-z]+) ", more) == rest


def test_a_plan_opens_its_results_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Mock(wraps=mirror.open_store)
    monkeypatch.setattr(mirror, "open_store", opened)
    planned = run_cli("plan", "miniature", "--gpus", 0, "--results", tmp_path, "--json", in_process=True)
    assert planned.returncode == 0 and opened.call_count == 1
