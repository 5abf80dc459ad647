"""A sweep seen from another terminal."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from carft.store.failures import write_failure
from carft.store.records import Store
from carft.store.sweep_state import Counts, SweepState, read_states, write_state
from sweeps.plan.planning import plan_of
from sweeps.plan.resources import Resources
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.jobs import Job, JobKind
from sweeps.search.protocol import Protocol
from sweeps.status import writer
from sweeps.status.progress import ProgressDisplay
from sweeps.status.writer import WRITE_EVERY_S, StatusWriter
from tests.support.helpers import run_cli
from tests.sweeps.search.test_protocol import TASKS, Crew


def small(**change: object) -> Recipe:
    fixed = {"tasks": TASKS, "methods": ["zeroshot", "ft", "wise_ft"], "trials": 2, "seeds": 1}
    fixed |= {"selection": "per-task"}
    return load_recipe("miniature").model_copy(update={**fixed, **change})


#: per task: zero-shot, two trials, a confirm cell, its curve
EACH = 1 + 2 + 1 + len(load_recipe("miniature").alphas)


class Watched:
    """A sweep without workers whose jobs a test starts and ends, told to a reporter. Its clock is the test's."""

    def __init__(self, store: Store, recipe: Recipe | None = None, slots: int = 1) -> None:
        self.store, self.now = store, time.time()
        self.protocol = Protocol(recipe or small(), store, retry_failed=False)
        self.reporter = StatusWriter(store, "small", self.now, {}, lambda: self.now)
        self.plan = plan_of(self.protocol, Resources(), slots)
        self.tell = self.reporter.watch(self.protocol, self.plan)
        self.running: list[Job] = []

    def start(self) -> Job:
        job = self.protocol.next_job()
        assert job is not None
        self.tell()
        self.running.append(job)
        return job

    def end(self, failure: str | None = None) -> None:
        job = self.running.pop(0)
        if failure is None:
            Crew(self.store).write(job)
        else:
            write_failure(self.store, job.cell, "hang", failure, job=job.kind)
        self.protocol.end(job, failure)
        self.tell()

    def run(self, seconds: float) -> Job:
        """Run one job for so long."""
        job = self.start()
        self.now += seconds
        self.end()
        return job

    def finish(self) -> None:
        while not self.protocol.finished():
            self.start()
            self.end()


def test_a_running_sweep_is_seen_from_another_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Watched(store)
    for _ in range(3):
        sweep.start()
    sweep.end()
    sweep.end("nothing moved")
    sweep.reporter.write()
    shown = json.loads(run_cli("status", "--results", store.root, "--json").stdout)
    (state,) = shown["sweeps"]
    assert state["alive"] is True and state["outcome"] == ""
    assert state["counts"] == {"total": 2 * EACH, "done": 1, "reused": 0, "failed": 1, "pruned": 0, "running": 1}
    assert sum(task["done"] for task in state["tasks"].values()) == 1
    assert sum(task["failed"] for task in state["tasks"].values()) == 1
    (running,) = state["running"]
    assert running["cell"] == sweep.running[0].cell.id
    (failure,) = shown["failures"]
    assert failure["kind"] == "hang" and failure["reason"] == "nothing moved"
    assert failure["log"].endswith(f"logs/{next(iter(sweep.protocol.failed))}.log")
    text = run_cli("status", "--results", store.root).stdout
    assert f"1 of {2 * EACH} cells done" in text and "Time left" in text and "nothing moved" in text
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**21))
    full = run_cli("status", "--results", store.root).stdout
    assert "It waits for room on the disk of " in full and "It waits" not in text
    sweep.reporter.close("stopped")
    assert read_states(store)[-1].outcome == "stopped"
    assert "It waits" not in run_cli("status", "--results", store.root).stdout


#: seconds of a pass of simulated jobs
PASS_S = 2.0


def length(sweep: Watched, job: Job) -> float:
    """Seconds of a simulated job, without those of its process's start."""
    method = "wise_ft" if job.kind == "curve" else job.cell.method
    (work,) = (w for w in sweep.plan.left if (w.kind, w.task, w.method) == (job.kind, job.cell.task, method))
    return work.passes * PASS_S


def test_time_left_is_that_of_the_jobs_that_are_left(store: Store) -> None:
    """One job at a time, so that the time left is the sum of all jobs that are left."""
    sweep = Watched(store, small(alphas=[0.0, 0.5, 1.0]))
    lengths: list[float] = []
    estimates: list[float | None] = []
    while not sweep.protocol.finished():
        estimates.append(sweep.reporter.write().left_s)
        job = sweep.start()
        lengths.append(length(sweep, job))
        sweep.now += lengths[-1]
        sweep.end()
    untrained = len(TASKS)
    assert estimates[: untrained + 1] == [None] * (untrained + 1)  # no training has ended
    for number, estimate in enumerate(estimates[untrained + 1 :], untrained + 1):
        assert estimate == pytest.approx(sum(lengths[number:]))
    last = sweep.reporter.close("done")
    assert last is not None and last.left_s is None and not last.is_alive()
    each = EACH - len(load_recipe("miniature").alphas) + 3
    assert last.counts == Counts(total=2 * each, done=2 * each)
    assert set(last.tasks.values()) == {Counts(total=each, done=each)}


def test_time_left_says_what_it_rests_on_and_falls_while_jobs_run(store: Store) -> None:
    sweep = Watched(store)
    assert "no job of this sweep has ended yet" in sweep.reporter.write().basis
    sweep.run(10.0)
    assert "no training of this sweep has ended yet" in sweep.reporter.write().basis
    sweep.run(10.0)
    sweep.run(WRITE_EVERY_S + 1)
    before = sweep.reporter.write()
    assert before.basis == "3 jobs of this sweep, 1 at a time"
    sweep.start()
    sweep.now += 2.0
    after = sweep.reporter.write()
    assert before.left_s is not None and after.left_s == pytest.approx(before.left_s - 2.0)


def test_how_long_trainings_waited_for_images_is_in_the_status(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Store.read
    waiting = {"train": 10.0, "data_wait": 4.0}
    monkeypatch.setattr(Store, "read", lambda self, cell: replace(read(self, cell), durations=waiting))
    sweep = Watched(store)
    sweep.start()
    assert sweep.reporter.write().data_wait is None
    sweep.end()
    assert sweep.reporter.write().data_wait == 0.4
    assert "waited for images: 0.4" in run_cli("status", "--results", store.root).stdout


def test_cells_that_were_there_already_count_as_found_done(store: Store) -> None:
    Crew(store).work(Protocol(small(tasks=TASKS[:1]), store))
    sweep = Watched(store)
    sweep.finish()
    state = sweep.reporter.close("done")
    assert state is not None and state.tasks[TASKS[0]] == Counts(total=EACH, done=EACH, reused=EACH)
    assert state.counts.reused == EACH


def made_up_state(**change: object) -> SweepState:
    now = time.time()
    counts = Counts(total=10, done=4, reused=1)
    state = SweepState(recipe="small", host="elsewhere", pid=1, started=now - 60, updated=now, counts=counts)
    return state.model_copy(update=change)


def test_a_sweep_that_was_killed_is_not_said_to_run(store: Store) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert not made_up_state(host=socket.gethostname(), pid=dead.pid).is_alive()
    assert made_up_state().is_alive()
    assert not made_up_state(updated=time.time() - 3600).is_alive()
    assert made_up_state().rate == pytest.approx(3 / 60)
    (store.root / "cells").mkdir(parents=True)
    write_state(store, made_up_state(updated=time.time() - 3600))
    assert "is gone" in run_cli("status", "--results", store.root).stdout


def test_status_of_a_folder_without_a_sweep(finished: Store, tmp_path: Path) -> None:
    assert "3 finished cells" in run_cli("status", "--results", finished.root).stdout
    assert run_cli("status", "--results", tmp_path).returncode == 2


def test_the_state_is_written_while_a_gpu_does_not_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine takes a sweep whose state is old for one that is over."""
    asked, answers = threading.Event(), threading.Event()

    def busy_gpus() -> dict[str, float]:
        asked.set()
        answers.wait(60)
        return {}

    monkeypatch.setattr(writer, "WRITE_EVERY_S", 0.02)
    monkeypatch.setattr(writer, "busy_gpus", busy_gpus)
    sweep = Watched(store)
    sweep.run(1.0)
    assert asked.wait(60)
    for later in (1.0, 2.0):
        sweep.now += later
        while not (states := read_states(store)) or states[-1].updated < sweep.now:
            time.sleep(0.01)
    answers.set()
    assert sweep.reporter.close("stopped") is not None


def test_a_running_sweep_says_in_words_what_happens_and_how_long_it_takes() -> None:
    recipe = load_recipe("miniature")
    kinds: tuple[JobKind, ...] = ("curve", "confirm", "confirm", "search")
    jobs = {str(k): Job(kind, recipe.cell("icons-3/mix-6", "ft", {"lr": 1e-3})) for k, kind in enumerate(kinds)}
    console = Console(width=200, force_terminal=False)
    protocol = SimpleNamespace(running=jobs, failed={}, done={}, pruned={}, total=lambda: 9)
    with console.capture() as captured:
        ProgressDisplay(console).watch(cast(Protocol, protocol), lambda: 300.0)()
    assert captured.get() == "0/9 cells  1 search, 2 confirm, 1 curve, about 5 min left\n"
