"""How long ls, show and the report take on a folder of 10,000 cells."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import ROOT, Figure, cpu_seconds, environment, run_cli

CELLS = 10_000


def measure() -> list[Figure]:
    """CPU seconds of child processes, and peak memory."""
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
        Figure(f"report of {cells}", taken["report_cpu_s"], None, unit="s", note=note),
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
    return Figure(f"{name}, {CELLS} cells", min(cpu), None, 3, unit="s", note=note)
