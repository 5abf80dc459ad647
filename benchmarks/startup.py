"""How soon a command answers: --help beside importing pandas."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measuring import Figure, cpu_seconds, interleaved, ratio, run_cli

ROUNDS = 5


def measure() -> list[Figure]:
    """CPU seconds of `--help` over those of a process that imports pandas."""
    pandas = [sys.executable, "-c", "import pandas"]
    runs = {"help": lambda: run_cli("--help"), "pandas": lambda: subprocess.run(pandas, check=True)}
    seconds = interleaved(runs, ROUNDS, cpu_seconds)
    return [Figure("--help over importing pandas", ratio(seconds, "help", "pandas"), "<= 1", ROUNDS, note="CPU time")]
