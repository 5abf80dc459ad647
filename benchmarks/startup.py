"""How soon a command answers: --help beside importing pandas; ls, show and the report on a large folder."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import ROOT, Figure, cpu_seconds, environment, interleaved, ratio, run_cli

ROUNDS = 7
CELLS = 10_000


def measure() -> list[Figure]:
    """CPU seconds of child processes against each other; wall seconds and peak memory where the target is one."""
    return [_help(), *_large_folder()]


def _help() -> Figure:
    pandas = [sys.executable, "-c", "import pandas"]
    runs = {"help": lambda: run_cli("--help"), "pandas": lambda: subprocess.run(pandas, check=True)}
    seconds = interleaved(runs, ROUNDS, cpu_seconds)
    return Figure("--help over importing pandas", ratio(seconds, "help", "pandas"), "<= 0.5", ROUNDS, note="CPU time")


def _large_folder() -> list[Figure]:
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results"
        command = [sys.executable, "-m", "benchmarks.report", "--cells", str(CELLS), "--results", str(results)]
        subprocess.run([*command, "--plant"], cwd=ROOT, env=environment(), check=True)
        printed = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
        taken = json.loads(printed.stdout)
        cell = next(path.name for path in (results / "cells").iterdir())
        asked = {"ls cells": ["ls", "cells"], "ls studies": ["ls", "studies"], f"show {cell}": ["show", cell]}
        answers = [_answer(name.split(cell)[0].strip(), arguments, results) for name, arguments in asked.items()]
    cells = f"{taken['cells']} cells"
    note = f"CPU time; {taken['report_s']} s by the clock; made-up predictions of 80 images a set"
    return [
        Figure(f"report of {cells}", taken["report_cpu_s"], "<= 20", unit="s", note=note),
        Figure(f"peak memory of the report of {cells}", taken["peak_mb"] / 1024, "<= 1.5", unit="GiB"),
        *answers,
    ]


def _answer(name: str, arguments: list[str], results: Path) -> Figure:
    """The best of three, the folder in the system's cache."""
    seconds, cpu = [], []
    for _ in range(3):
        started, worked = time.perf_counter(), cpu_seconds()
        run_cli(*arguments, "--results", str(results))
        cpu.append(cpu_seconds() - worked)
        seconds.append(time.perf_counter() - started)
    note = f"CPU time, best of 3; {min(seconds):.1f} s by the clock"
    return Figure(f"{name}, {CELLS} cells", min(cpu), "<= 2", 3, unit="s", note=note)
