"""Writes the state of a running sweep to disk, for `status`: counts, running jobs, time left, load."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping

import psutil

from carft.core.errors import UserError
from carft.store.failures import read_failure
from carft.store.records import Store
from carft.store.sweep_state import Counts, Running, SweepState, state_name, write_state
from carft.training.device import nvidia_smi
from sweeps.faults.watchdog import gpu_of, log_path
from sweeps.plan.planning import Plan
from sweeps.search.protocol import Job, Protocol
from sweeps.status.job_times import JobTimes

WRITE_EVERY_S = 3.0
#: samples of the load of the last five minutes
LATELY = int(300 / WRITE_EVERY_S)


class StatusWriter:
    """Gets every change of the sweep; a thread writes the state, so that no job waits for the disk."""

    def __init__(
        self,
        store: Store,
        recipe: str,
        started: float,
        aside: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.recipe, self.started, self.clock = store, recipe, started, clock
        self.aside = aside  # GPU that is set aside -> reason; the sweep adds to it
        self.protocol: Protocol  # from watch on
        self.plan: Plan  # from watch on
        self.times: JobTimes  # from watch on
        self.slots = 0
        self._since: dict[str, tuple[float, Job]] = {}
        self._left: tuple[float | None, str] = None, ""  # as JobTimes.time_left
        self._estimated = 0.0  # when
        self._tasks: dict[str, str] = {}  # cell -> task, of all cells that are done
        self._failed_on: dict[str, str] = {}  # job -> task, of the jobs that failed
        self._waited_s = self._trained_s = 0.0  # of the cells whose records were read
        self._load = Load()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write_regularly, daemon=True)

    @property
    def name(self) -> str:
        """Name, without suffix, of the files of this sweep."""
        return state_name(self.started, os.getpid())

    def watch(self, protocol: Protocol, plan: Plan) -> Callable[[], None]:
        """Start the thread; returns the callback for every change. Ray must be connected."""
        self.protocol, self.plan, self.times = protocol, plan, JobTimes(protocol, plan)
        self._left = self.times.time_left()
        self._thread.start()
        return self.update

    def update(self) -> None:
        """Record which jobs started and which ended."""
        now, running = self.clock(), dict(self.protocol.running)
        with self._lock:
            for key in set(self._since) - set(running):
                since, job = self._since.pop(key)
                if key not in self.protocol.failed and all(cell.id in self.protocol.done for cell in job.cells()):
                    self.times.add(job, now - since, _gpu_of(self.store, key))
            for key in set(running) - set(self._since):
                self._since[key] = now, running[key]
            self.slots = max(self.slots, len(running))
            if now - self._estimated > WRITE_EVERY_S:  # it counts all jobs that are left
                self._estimated = now
                with contextlib.suppress(OSError, UserError):  # the folder may be back the next time
                    self._left = self.times.time_left()

    def seconds_left(self) -> float | None:
        """Estimated seconds until the end; None where there is no estimate."""
        seconds, _ = self._left
        if seconds is None:
            return None
        now = self.clock()
        elapsed = sum(now - since for since, _ in list(self._since.values()))
        return max(0.0, seconds - elapsed / self.times.slots)

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
        psutil.cpu_percent()  # it measures from the last call in the same thread
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
        protocol, now = self.protocol, self.clock()
        done, failed = dict(protocol.done), dict(protocol.failed)
        reused = protocol.reused & set(done)
        self._read_records(set(done) - set(self._tasks), reused)
        for key in set(failed) - set(self._failed_on):
            failure = read_failure(self.store, key.partition("-")[2])
            self._failed_on[key] = failure.spec.task if failure else ""
        lost = sum(protocol.cells_of(key) for key in failed)
        total, running = protocol.total(), len(self._since)
        counts = Counts(total=total, done=len(done), reused=len(reused), failed=lost, running=running)
        return SweepState(
            recipe=self.recipe,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self.started,
            updated=now,
            counts=counts,
            tasks=self._by_task(done, reused, failed),
            running=tuple(
                Running(job=job.kind, cell=job.cell.id, task=job.cell.task, method=job.cell.method, since=since)
                for since, job in self._since.values()
            ),
            failed=failed,
            ended=now if outcome else None,
            outcome=outcome,
            left_s=None if outcome else self.seconds_left(),
            basis=self._left[1],
            forecast_s=self.plan.forecast.wall_s or None,
            estimate=self.plan.forecast.estimate,
            slots=self.slots,
            busy=self._load.means(),
            busy_lately=self._load.means(LATELY),
            data_wait=min(1.0, self._waited_s / self._trained_s) if self._trained_s else None,
            gpus_set_aside=dict(self.aside),
            gpus_slow=self.times.slow_gpus(),
            searches=protocol.recipe.searches,
            selection=protocol.recipe.selection,
        )

    def _read_records(self, cells: Collection[str], reused: Collection[str]) -> None:
        """Read the tasks of cells that are done, and for how long devices waited for images of those not reused."""
        for record in map(self.store.read, cells):
            self._tasks[record.id] = record.cell.task
            if record.id not in reused and "data_wait" in record.durations:
                self._waited_s += record.durations["data_wait"]
                self._trained_s += record.durations["train"]

    def _by_task(
        self, done: Mapping[str, object], reused: Collection[str], failed: Mapping[str, str]
    ) -> dict[str, Counts]:
        tasks = self.protocol.recipe.tasks
        total = self.protocol.total() // len(tasks)  # every task has the same studies
        ended, found = (Counter(self._tasks[cell] for cell in cells) for cells in (done, reused))
        running = Counter(job.cell.task for _, job in self._since.values())
        lost: Counter[str] = Counter()
        for key in failed:
            lost[self._failed_on[key]] += self.protocol.cells_of(key)
        return {
            t: Counts(total=total, done=ended[t], reused=found[t], failed=lost[t], running=running[t]) for t in tasks
        }


def _gpu_of(store: Store, key: str) -> str:
    """The GPU of a job by its log; empty where the log names none or is not here."""
    with contextlib.suppress(OSError):
        return gpu_of(log_path(store.root, key))
    return ""


class Load:
    """Mean load of this machine, as shares in [0, 1]: of the CPU, and of GPUs that nvidia-smi knows."""

    def __init__(self) -> None:
        self._shares: dict[str, list[float]] = defaultdict(list)

    def sample(self) -> None:
        """Take a sample; to be called regularly, from one thread."""
        self._shares["CPU"].append(psutil.cpu_percent() / 100)
        for line in nvidia_smi("index,utilization.gpu"):
            with contextlib.suppress(ValueError):  # such as [N/A], or a sentence in place of numbers
                index, percent = line.split(",")
                self._shares[f"GPU {int(index)}"].append(float(percent) / 100)

    def means(self, count: int = 0) -> dict[str, float]:
        """Device -> mean share; empty before the first sample. count: of so many last samples; 0 for all."""
        lasts = {name: samples[-count:] for name, samples in self._shares.items()}
        return {name: sum(last) / len(last) for name, last in lasts.items()}
