"""What commands cost on a folder of many cells: CPU seconds and peak memory of each, of a process of its own.

By itself: python -m benchmarks.folders --cells 2000 [--results FOLDER]. The cells are those of a sweep that is over,
with made-up predictions; nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.measuring import ROOT, Figure, environment
from benchmarks.report import PLAN
from carft.core.metrics import Predictions
from carft.data.card import Card
from carft.data.icons.world import nine_tasks
from carft.store.predictions import write_predictions
from carft.store.records import Store
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.planted import Plan, predictions, write

CELLS = 10_000
METHODS = ("zeroshot", "ft", "car_ft", "wise_ft")
SEEDS = 9
#: predictions of a method on a set that differ
VARIANTS = 8
#: nine tasks; of each of two methods a curve of three alphas beside each confirm cell
UNSEALED = 9 + 9 * 2 * SEEDS * 4
#: command -> CPU seconds at :data:`CELLS`; without a target None
SECONDS = {
    "start of a finished sweep": 10.0,
    "ls cells": 2.0,
    "status": 2.0,
    "ls cells ID": None,
    "report": 40.0,
    "report verify": 60.0,
    "results export": None,
    "results import": None,
}
#: how much longer ten times as many cells may take
TEN_TIMES = 12
#: GiB that a command may take with :data:`CELLS`, and with more
GIB, MORE_GIB = 1.0, 1.5
#: runs a command of the project and prints what it cost, without the memory of the process that started it
CHILD = """
import atexit, json, sys
from benchmarks.measuring import cpu_seconds, memory_mib
cost = lambda: print(json.dumps([cpu_seconds(), memory_mib("VmHWM") / 1024]), file=sys.stderr)
atexit.register(cost)
sys.argv[0] = "cli.py"
from carft_cli.app import main
main()
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a command with its imports, GiB of its peak memory, and wall seconds."""

    cpu_s: float
    gib: float
    wall_s: float


def measure(cells: int = CELLS) -> list[Figure]:
    """Every command on a folder that is planted for it."""
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results"
        planted = plant_sweep(recipe_of(cells), results)
        costs = costs_of(results, recipe_of(cells))
    limit = TEN_TIMES if cells > CELLS else 1
    figures = []
    for name, cost in costs.items():
        target = SECONDS[name]
        words = None if target is None else f"<= {limit * target:g}"
        note = f"CPU time, {planted} cells, {cost.gib:.2f} GiB; {cost.wall_s:.1f} s by the clock"
        figures.append(Figure(f"{name}, {cells} cells", cost.cpu_s, words, unit="s", note=note))
    most = max(costs, key=lambda name: costs[name].gib)
    memory = GIB
    if cells > CELLS:
        memory = MORE_GIB
    return [*figures, Figure(f"peak memory, {cells} cells", costs[most].gib, f"<= {memory:g}", unit="GiB", note=most)]


def recipe_of(cells: int) -> Recipe:
    """The recipe of a sweep with about as many cells, most of them trials."""
    trials = max(2, (cells - UNSEALED) // (9 * 2))
    return load_recipe("miniature").changed(list(nine_tasks()), list(METHODS), trials, seeds=SEEDS)


def plant_sweep(recipe: Recipe, results: Path) -> int:
    """Run a sweep whose cells have made-up predictions; returns the number of cells. Nothing is flushed to disk."""
    store = Store(results)
    protocol = Protocol(recipe, store)
    with patch("os.fsync"), few_predictions():
        protocol.commit({})
        protocol.write_studies()
        while (job := protocol.next_job()) is not None:
            for cell in job.cells():
                source = cell.method if cell.method in PLAN.top1 else "ft"
                top1, context = PLAN.top1[source], PLAN.context[source]
                write(store, cell, top1, context, PLAN, unseal=job.kind != "search")
            protocol.end(job)
            protocol.write_studies(at_once=False)
        protocol.write_studies()
        store.note("ended")
    return len(protocol.done)


@contextmanager
def few_predictions() -> Iterator[None]:
    """Within the block cells share :data:`VARIANTS` predictions a set, of which each file is made once."""
    made: dict[tuple[Any, ...], Predictions] = {}
    files: dict[int, bytes] = {}

    def share(known: Card, name: str, top1: float, context: float, plan: Plan, rng: np.random.Generator) -> Predictions:
        key = known.name, name, top1, context, int(rng.integers(VARIANTS))
        if key not in made:
            made[key] = predictions(known, name, top1, context, plan, rng)
        return made[key]

    def copy(shared: Predictions, path: Path) -> None:
        if id(shared) not in files:
            write_predictions(shared, path)
            files[id(shared)] = path.read_bytes()
        path.write_bytes(files[id(shared)])

    with (
        patch("tests.support.planted.predictions", share),
        patch("carft.store.records.write_predictions", copy),
    ):
        yield


def costs_of(results: Path, recipe: Recipe) -> dict[str, Cost]:
    """Command -> what it costs on a folder of a finished sweep."""
    folder = ["--results", str(results)]
    cell = next((results / "cells").iterdir()).name
    asked = [f"--trials={recipe.trials}", f"--seeds={recipe.seeds}", f"--methods={','.join(recipe.methods)}"]
    sweep = ["sweep", "miniature", f"--tasks={','.join(recipe.tasks)}", *asked, *folder]
    with tempfile.TemporaryDirectory() as scratch:
        report, archive, copy = (str(Path(scratch) / name) for name in ("report", "results.zip", "copy"))
        commands = {
            "start of a finished sweep": sweep,
            "ls cells": ["ls", "cells", *folder],
            "status": ["status", *folder],
            "ls cells ID": ["ls", "cells", cell, *folder],
            "report": ["report", "--out", report, *folder],
            "report verify": ["report", "verify", "--out", report, *folder],
            "results export": ["results", "export", archive, *folder],
            "results import": ["results", "import", archive, "--to", copy],
        }
        costs = {}
        for name, words in commands.items():
            costs[name] = cost_of(words)
        shutil.rmtree(copy)
    return costs


def cost_of(words: Sequence[str]) -> Cost:
    """What a command of the project costs. Raises ``RuntimeError`` with what it said for any exit code but 0."""
    started = time.perf_counter()
    command = [sys.executable, "-c", CHILD, *words]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    cpu_s, gib = json.loads(done.stderr.splitlines()[-1])
    return Cost(cpu_s, gib, time.perf_counter() - started)


def main() -> None:
    """Plant, unless the folder is there; print what every command costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--results", type=Path, help="Where to plant, or an earlier folder to use again.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = options.results or Path(scratch) / "results"
        if not results.exists():
            started = time.process_time()
            cells = plant_sweep(recipe_of(options.cells), results)
            print(f"planted {cells} cells: {time.process_time() - started:.1f} CPU s", flush=True)
        for name, cost in costs_of(results, recipe_of(options.cells)).items():
            print(f"{name}: {cost.cpu_s:.2f} CPU s, {cost.gib:.3f} GiB, {cost.wall_s:.1f} s by the clock")


if __name__ == "__main__":
    main()
