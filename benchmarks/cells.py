"""What a sweep spends its cores on, what a cell costs besides computing, and how separate processes compare."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.benches import HYPERPARAMETERS
from benchmarks.measuring import CORES, Figure, cpu_seconds, run_cli
from benchmarks.timed import COMPUTE, NOTES, TimedActor
from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import command, specify
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.plan.resources import Resources
from sweeps.ray_backend.driver import run_sweep
from sweeps.ray_backend.searcher import ProtocolSearcher
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.samplers import sampler_of
from sweeps.search.optuna_study import OptunaStudy

#: tasks of the sweep; a cell of each and of each method is also run as a process of its own
TASKS = ["icons-3/mix-4", "icons-3/mix-7", "icons-3/mix-9"]
TRIALS, SEEDS, SEARCHES = 8, 3, 2
#: finished trials of a search that asks TPE for another one, and how often it asks
KNOWN, ASKS = 200, 10


@dataclass(frozen=True)
class Swept:
    """A finished sweep: a line per job, cells, wall seconds before the first cell, CPU seconds of the queue a job."""

    jobs: list[dict[str, Any]]
    cells: int
    before: float
    queue: float

    @property
    def span(self) -> float:
        """Wall seconds between the first cell's start and the last cell's end."""
        return max(job["ended"] for job in self.jobs) - min(job["began"] for job in self.jobs)

    def spent(self) -> Counter[str]:
        """Wall seconds of all actors by what they were spent on."""
        total: Counter[str] = Counter()
        for job in self.jobs:
            total.update(job["spent"])
        return total


def swept() -> Swept:
    """The miniature recipe on three tasks, in a fresh results folder, with nothing kept from earlier."""
    with tempfile.TemporaryDirectory() as scratch:
        notes = Path(scratch) / "notes.jsonl"
        os.environ[NOTES] = str(notes)
        recipe = load_recipe("miniature").changed(tasks=TASKS, trials=TRIALS, seeds=SEEDS, searches=SEARCHES)
        request = Resources(execution=Execution(feature_cache=str(Path(scratch) / "features")))
        started = time.time()
        with (
            patch("sweeps.ray_backend.trainable.CellActor", TimedActor),
            _clocked("suggest") as proposing,
            _clocked("on_trial_complete") as settling,
        ):
            _, summary = run_sweep(
                recipe, Store(Path(scratch) / "results"), request, lambda protocol: lambda: None, print
            )
        jobs = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
        del os.environ[NOTES]
    before = min(job["began"] for job in jobs) - started
    return Swept(jobs, summary.cells_done, before, (sum(proposing) + sum(settling)) / len(jobs))


@contextmanager
def _clocked(method: str) -> Iterator[list[float]]:
    """Yield the CPU seconds of each call of a method of the searcher within the block."""
    spent: list[float] = []
    call = getattr(ProtocolSearcher, method)

    @wraps(call)
    def clocked(*given: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return call(*given, **named)
        finally:
            spent.append(time.thread_time() - began)

    with patch.object(ProtocolSearcher, method, clocked):
        yield spent


def measure() -> list[Figure]:
    """Shares of core time are wall time of the actors over cores x span, so other load on the machine lowers them."""
    sweep = swept()
    spent, available = sweep.spent(), CORES * sweep.span
    computing = sum(spent[name] for name in COMPUTE)
    trained = [job for job in sweep.jobs if job["kind"] == "search"]
    fixed = (available - computing - spent["data"]) / len(sweep.jobs)
    detail = ", ".join(f"{name} {100 * value / available:.1f} %" for name, value in spent.most_common())
    n = len(sweep.jobs)
    name = "share of core time in forward, backward, optimiser, evaluation"
    note = f"{sweep.cells} cells in {n} jobs, {sweep.span:.0f} s on {CORES} cores; {detail}"
    return [
        Figure(name, computing / available, ">= 0.86", n, unit="share of time", note=note),
        Figure("fixed cost of a job", fixed, None, n, unit="s", note="all that is neither computing nor data"),
        Figure("data wait of the sweep", spent["data"] / available, "<= 0.05", n, unit="share of time"),
        Figure("start of a sweep", sweep.before, None, unit="s", note="from the call to the first cell"),
        Figure("queue, CPU time of a job", 1000 * sweep.queue, "<= 8", n, unit="ms", note="without Ray Tune's own"),
        _asked(),
        _against_processes(trained),
    ]


def _asked() -> Figure:
    """CPU time of a proposal of TPE in a search with :data:`KNOWN` finished trials."""
    space = load_recipe("miniature").space_of(BUILT_IN.method("car_ft"))
    study = OptunaStudy(space, sampler_of("tpe"), search_seed=0)
    draws = np.random.default_rng(0)
    for trial in range(KNOWN):
        study.ask()
        study.tell(trial, float(draws.uniform()))
    began = time.process_time()
    for _ in range(ASKS):
        study.ask()
    spent = 1000 * (time.process_time() - began) / ASKS
    return Figure(f"TPE, CPU time of an ask with {KNOWN} trials", spent, "<= 50", ASKS, unit="ms")


def _against_processes(trained: list[dict[str, Any]]) -> Figure:
    """CPU seconds of a cell as a process of its own over those of a search cell of its task and method in the sweep.

    On the sweep's side its jobs count, not Ray and not the start of the actors, which is once for all cells.
    """
    kinds = [(task, method) for task in TASKS for method in HYPERPARAMETERS]
    searched = {kind: [j["cpu"] for j in trained if (j["task"], j["method"]) == kind] for kind in kinds}
    in_sweep = [sum(seconds) / len(seconds) for seconds in searched.values()]
    with tempfile.TemporaryDirectory() as results:
        cells = [specify(task, method, HYPERPARAMETERS[method]) for task, method in kinds]
        commands = [shlex.split(command(cell, results, catalog=BUILT_IN))[2:] for cell in cells]
        features = ["--feature-cache", str(Path(results) / "features")]
        used = cpu_seconds()
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(lambda words: run_cli(*words, *features), commands))
        separate = (cpu_seconds() - used) / len(cells)
    mean = sum(in_sweep) / len(in_sweep)
    note = f"CPU time of a search cell: {separate:.1f} s as a process, {mean:.1f} s in the sweep"
    return Figure("throughput over a process per cell", separate / mean, ">= 5", len(cells), note=note)
