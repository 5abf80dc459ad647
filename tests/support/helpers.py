"""Small things that several tests need."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from carft import NUMERICS
from carft.catalog.resolve import specify
from carft.config.cell import Cell, Reading, Training
from carft.core.metrics import Predictions
from carft.store.record_files import Record
from carft.store.study_file import StudyFile
from carft_cli import console
from carft_cli.app import main

ROOT = Path(__file__).resolve().parents[2]
TASK = "icons-3/mix-7"
LR = 3e-4


def quick_cell(
    method: str, seed: int = 0, epochs: int = 1, reading: Reading | None = None, **hyperparameters: float
) -> Cell:
    """A cell on the smallest task that trains in about half a second per epoch."""
    return specify(TASK, method, hyperparameters, seed, Training(epochs=epochs), reading)


def made_up_predictions(count: int = 3, classes: int = 2, contexts: int = 2, seed: int = 0) -> Predictions:
    """Predictions that no model made."""
    rng = np.random.default_rng(seed)
    return Predictions(
        images=[f"image {i}" for i in range(count)],
        groups=[f"group {i // 2}" for i in range(count)],
        labels=rng.integers(0, classes, count),
        contexts=rng.integers(-1, contexts, count),
        logits=rng.normal(size=(count, classes)).astype(np.float32),
        context_logits=rng.normal(size=(count, contexts)).astype(np.float32),
    )


def made_up_study(**content: Any) -> StudyFile:
    """A study without trials, but for the given keys of study.json."""
    named = {"id": "s", "task": "icons-3/mix-1", "method": "ft", "data_version": "1", "model": "m", "pretrained": "p"}
    empty = {"training": {"epochs": 1}, "trials": [], "winner": None, "confirm": []}
    return StudyFile.model_validate({**named, **empty, **content})


def made_up_record(cell: Cell, metrics: Mapping[str, float] | None = None, numerics: int = NUMERICS) -> Record:
    """A record that no training made."""
    made_up = {"val/top1": 0.5, "val/loss": 1.0, **(metrics or {})}
    return Record(cell, made_up, {"numerics": numerics}, {"train": 0.0})


def same_predictions(first: Predictions, second: Predictions) -> bool:
    """Whether two predictions agree in every bit."""
    arrays = ("labels", "contexts", "logits", "context_logits")
    return (
        list(first.images) == list(second.images)
        and list(first.groups) == list(second.groups)
        and all(np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays)
    )


def environment() -> dict[str, str]:
    """The environment of a child process that finds the project without being installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def cli_command(*arguments: object) -> list[str]:
    """The command line of ``cli.py`` in this interpreter."""
    return [sys.executable, "cli.py", *map(str, arguments)]


def run_cli(
    *arguments: object, in_process: bool | None = None, columns: int = 200, folder: Path = ROOT, **extra: Any
) -> subprocess.CompletedProcess[str]:
    """A command of ``cli.py``; starting a process costs seconds, so most run in this one.

    in_process: by default a command that starts no Ray, unless ``extra`` says something of a process, such as an
    ``env`` that is not None. columns: of the terminal, and folder: where it is typed, of a command in this process.
    """
    extra = {name: value for name, value in extra.items() if value is not None}
    starts_ray = arguments[0] == "sweep" or "--address" in arguments
    if in_process or (in_process is None and not (starts_ray or extra)):
        return _called(columns, folder, *map(str, arguments))
    options: dict[str, Any] = {"env": environment(), "timeout": 900, **extra}
    return subprocess.run(cli_command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False, **options)


def _called(columns: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        chdir(folder),
        patch.object(sys, "argv", ["cli.py", *arguments]),
        patch.object(console.out, "_width", columns),
        patch.object(console.err, "_width", columns),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:  # what a process of its own would end with
            err.write(traceback.format_exc())
            code = 1
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
