"""Writes the state of a running sweep to disk, for `status`: counts, running jobs, time left, load."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping
from typing import cast

import psutil

from carft.core.errors import UserError
from carft.spec.cell import Cell
from carft.spec.registry import SOUP_RULES, method_card
from carft.store.failures import read_failure
from carft.store.records import Store
from carft.store.sweep_state import Counts, Running, SweepState, state_name, write_state
from sweeps.recipes import Recipe
from sweeps.search.protocol import Job, Kind, Protocol

WRITE_EVERY_S = 3.0


class StatusWriter:
    """Gets every change of the sweep; a thread writes the state, so that no job waits for the disk."""

    def __init__(self, store: Store, recipe: str, started: float, aside: Mapping[str, str]) -> None:
        self.store, self.recipe, self.started = store, recipe, started
        self.aside = aside  # GPU that is set aside -> reason; the sweep adds to it
        self.protocol: Protocol  # from watch on
        self.dashboard = ""
        self.slots = 0
        self._since: dict[str, tuple[float, Job]] = {}
        self._seconds: dict[Kind, list[float]] = defaultdict(list)  # kind -> seconds per cell of each job that ended
        self._tasks: dict[str, str] = {}  # cell -> task, of all cells that are done
        self._kinds: dict[str, Kind] = {}  # of the same cells
        self._failed_on: dict[str, str] = {}  # job -> task, of the jobs that failed
        self._unread: list[str] = []  # cells that this sweep finished and whose waiting time is not read yet
        self._waited_s = self._trained_s = 0.0  # of the cells whose records were read
        self._load = Load()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write_regularly, daemon=True)

    @property
    def name(self) -> str:
        """Name, without suffix, of the files of this sweep."""
        return state_name(self.started, os.getpid())

    def watch(self, protocol: Protocol) -> Callable[[], None]:
        """Start the thread; returns the callback for every change. Ray must be connected."""
        self.protocol, self.dashboard = protocol, dashboard()
        self._thread.start()
        return self.update

    def update(self) -> None:
        """Record which jobs started and which ended."""
        now, running = time.time(), dict(self.protocol.running)
        with self._lock:
            for key in set(self._since) - set(running):
                since, job = self._since.pop(key)
                if key in self.protocol.failed:
                    self._failed_on[key] = job.cell.task
                    continue
                cells = job.cells()
                if not all(self.protocol.is_over(cell.id) for cell in cells):
                    continue  # it will run again
                self._seconds[job.kind].append((now - since) / len(cells))
                self._unread += [cell.id for cell in cells if job.kind in ("search", "confirm")]
                if job.kind != "oracle":  # an oracle job evaluates a cell that is done already
                    self._tasks |= {cell.id: cell.task for cell in cells}
                    self._kinds |= {cell.id: job.kind for cell in cells}
            self._since |= {key: (now, job) for key, job in running.items() if key not in self._since}
            self.slots = max(self.slots, len(running))

    def close(self, outcome: str) -> SweepState | None:
        """Write the last state; returns it, None when the sweep had nothing to do."""
        if self._thread.ident is None:  # it was never started
            return None
        self._over.set()
        self._thread.join()
        self.update()
        try:
            return self._write(outcome)
        except (OSError, UserError):  # the folder cannot be used; the caller reports it
            return None

    def _write_regularly(self) -> None:
        while not self._over.wait(WRITE_EVERY_S):
            self._load.sample()
            with contextlib.suppress(OSError, UserError):  # the folder may be back the next time
                self._write()

    def _write(self, outcome: str = "") -> SweepState:
        with self._lock:
            state = self._state(outcome)
        with contextlib.suppress(OSError):  # a sweep does not end because its state cannot be written
            write_state(self.store, state)
        return state

    def _state(self, outcome: str) -> SweepState:
        protocol, now = self.protocol, time.time()
        done, failed, stopped = dict(protocol.done), dict(protocol.failed), dict(protocol.stopped)
        for cell in set(done) - set(self._tasks):
            self._read_cell(cell)
        for key in set(failed) - set(self._failed_on):
            before = read_failure(self.store, key.partition("-")[2])
            self._failed_on[key] = before.spec.task if before else ""
        self._read_waits(done)
        left_s, basis = self._time_left(done, failed, len(stopped))
        reused = protocol.reused & set(done)
        lost = sum(cells_of(key, protocol.recipe) for key in failed)
        counts = _counts(protocol.total(), len(done), len(reused), lost, len(self._since), len(stopped))
        return SweepState(
            recipe=self.recipe,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self.started,
            updated=now,
            counts=counts,
            tasks=self._by_task(done, reused, failed, Counter(stop.task for stop in stopped.values())),
            running=tuple(
                Running(job=job.kind, cell=job.cell.id, task=job.cell.task, method=job.cell.method, since=since)
                for since, job in self._since.values()
            ),
            failed=failed,
            ended=now if outcome else None,
            outcome=outcome,
            left_s=None if outcome else left_s,
            basis=basis,
            slots=self.slots,
            busy=self._load.means(),
            data_wait=min(1.0, self._waited_s / self._trained_s) if self._trained_s else None,
            dashboard=self.dashboard,
            gpus_set_aside=dict(self.aside),
            searches=protocol.recipe.searches,
        )

    def _read_cell(self, cell: str) -> None:
        """Read task and kind of a cell that was done before from its record."""
        found = self.store.read(cell).cell
        search_seeds = {study.search_seed for study in self.protocol.studies}
        self._tasks[cell], self._kinds[cell] = found.task, kind_of(found, search_seeds)

    def _read_waits(self, done: Container[str]) -> None:
        """Read from the records of finished cells for how long their device waited for images."""
        unread, self._unread = self._unread, []
        for durations in (self.store.read(cell).durations for cell in unread if cell in done):
            if "data_wait" in durations:
                self._waited_s += durations["data_wait"]
                self._trained_s += durations["train"]

    def _by_task(
        self, done: Mapping[str, object], reused: set[str], failed: Mapping[str, str], stopped: Counter[str]
    ) -> dict[str, Counts]:
        tasks = self.protocol.recipe.tasks
        total = self.protocol.total() // len(tasks)  # every task has the same studies
        ended, found = (Counter(self._tasks[cell] for cell in cells) for cells in (done, reused))
        running = Counter(job.cell.task for _, job in self._since.values())
        lost: Counter[str] = Counter()
        for key in failed:
            lost[self._failed_on[key]] += cells_of(key, self.protocol.recipe)
        return {t: _counts(total, ended[t], found[t], lost[t], running[t], stopped[t]) for t in tasks}

    def _time_left(
        self, done: Mapping[str, object], failed: Mapping[str, str], stopped: int
    ) -> tuple[float | None, str]:
        """(Seconds left, basis): remaining cells times the seconds per cell of their kind in this sweep."""
        measured = {kind: sum(seconds) / len(seconds) for kind, seconds in self._seconds.items()}
        if not measured or not self.slots:
            return None, "no job of this sweep has ended yet"
        left = self.protocol.planned()
        left.subtract(self._kinds[cell] for cell in done)
        left["search"] -= stopped
        for key in failed:
            left[cast(Kind, key.partition("-")[0])] -= cells_of(key, self.protocol.recipe)
        fallback = max(measured.values())
        seconds = sum(max(0, count) * measured.get(kind, fallback) for kind, count in left.items())
        each = ", ".join(f"{kind} {measured[kind]:.1f} s" for kind in sorted(measured))
        jobs = sum(map(len, self._seconds.values()))
        unknown = [kind for kind, count in left.items() if count > 0 and kind not in measured]
        guess = f"; {' and '.join(unknown)} not measured yet, taken as the slowest" if unknown else ""
        return seconds / self.slots, f"seconds a cell in {jobs} jobs ({each}), {self.slots} at a time{guess}"


def _counts(total: int, done: int, reused: int, failed: int, running: int, stopped: int) -> Counts:
    return Counts(total=total, done=done, reused=reused, failed=failed, running=running, stopped=stopped)


def kind_of(cell: Cell, search_seeds: Container[int]) -> Kind:
    """Kind of the job that computes a cell of a sweep."""
    posthoc: dict[str, Kind] = {"wise_ft": "curve", "soup": "soup"}
    if cell.method in posthoc:
        return posthoc[cell.method]
    return "search" if cell.seed in search_seeds and method_card(cell.method).kind == "trained" else "confirm"


def cells_of(key: str, recipe: Recipe) -> int:
    """Number of cells of the job with this key."""
    return {"curve": len(recipe.alphas), "soup": len(SOUP_RULES)}.get(key.partition("-")[0], 1)


def dashboard() -> str:
    """URL of Ray's dashboard; empty where it does not run."""
    import ray

    if not ray.is_initialized():
        return ""
    context = ray.init(ignore_reinit_error=True, logging_level=logging.ERROR)
    url = getattr(context, "dashboard_url", None)
    return f"http://{url}" if url else ""


class Load:
    """Mean load of this machine since the start, as shares in [0, 1]: of the CPU, and of GPUs that nvidia-smi knows."""

    def __init__(self) -> None:
        self._first = self._last = _cpu_seconds()
        self._gpus: dict[str, list[float]] = defaultdict(list)
        self._smi = shutil.which("nvidia-smi")

    def sample(self) -> None:
        """Take a sample; to be called regularly."""
        self._last = _cpu_seconds()
        if self._smi:
            command = [self._smi, "--query-gpu=index,utilization.gpu", "--format=csv,noheader,nounits"]
            with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
                printed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
                for line in printed.splitlines():
                    index, percent = line.split(",")
                    self._gpus[f"GPU {int(index)}"].append(float(percent) / 100)

    def means(self) -> dict[str, float]:
        """Device -> mean share; empty before the first sample."""
        (busy, total), (busy_before, total_before) = self._last, self._first
        cpu = {"CPU": (busy - busy_before) / (total - total_before)} if total > total_before else {}
        return {**cpu, **{name: sum(samples) / len(samples) for name, samples in self._gpus.items()}}


def _cpu_seconds() -> tuple[float, float]:
    """(busy, all) seconds of all cores since boot; waiting for a disk is not busy."""
    times = psutil.cpu_times()._asdict()
    total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)  # these are in user and nice
    return total - times["idle"] - times.get("iowait", 0.0), total
