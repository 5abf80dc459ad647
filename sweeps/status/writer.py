"""Writes the state of a running sweep to disk, for `status`: counts, running jobs, time left, load."""

import contextlib
import os
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from statistics import fmean

import psutil

from carft.core.errors import UserError
from carft.store.records import Store
from carft.store.sweep_state import Counts, RunningJob, SweepState, state_name, write_state
from carft.training.device import busy_gpus
from sweeps.plan.planning import Plan
from sweeps.plan.work import pending_work, simulate
from sweeps.search.jobs import Job
from sweeps.search.protocol import Protocol

WRITE_EVERY_S = 3.0
#: samples of the load of the last five minutes
LATELY = int(300 / WRITE_EVERY_S)


class JobTimes:
    """What a pass takes, from the jobs of a sweep that have ended."""

    def __init__(self, protocol: Protocol, plan: Plan) -> None:
        self.protocol, self.plan, self.slots = protocol, plan, max(1, plan.slots)
        self._work = {(work.kind, work.task, work.method): work for work in plan.left}
        self._ended, self._seconds, self._passes = 0, 0.0, 0.0
        self._trained = False  # whether one of them trained

    def add(self, job: Job, seconds: float) -> None:
        """Note how long a job took."""
        post_hoc = {"curve": "wise_ft", "soup": "soup"}  # as they are counted: they do not differ by method
        work = self._work.get((job.kind, job.cell.task, post_hoc.get(job.kind, job.cell.method)))
        if work is not None and work.passes:
            self._ended += 1
            self._seconds += seconds
            self._passes += work.passes
            self._trained = self._trained or work.trains

    def time_left(self) -> tuple[float | None, str]:
        """(Seconds left if the running jobs had just begun, what this rests on); None where that is not known."""
        if not self._ended:
            return None, "no job of this sweep has ended yet"
        left = pending_work(self.protocol, self.plan.size, self.plan.costs)
        if not self._trained and any(work.trains for work in left):
            return None, "no training of this sweep has ended yet"
        pass_s = self._seconds / self._passes
        length = simulate(left, self.slots, lambda work: work.passes * pass_s)
        return length, f"{self._ended} jobs of this sweep, {self.slots} at a time"


class StatusWriter:
    """Gets every change of the sweep. A thread writes the state, so that no job waits for the disk; another one samples
    the load, so that the state does not wait for a GPU that does not answer."""

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
        self.times: JobTimes  # from watch on
        self.slots = 0
        self._since: dict[str, tuple[float, Job]] = {}
        self._left: tuple[float | None, str] = None, ""  # as JobTimes.time_left
        self._estimated = 0.0  # when
        self._seen: set[str] = set()  # cells whose records were read
        self._waited_s = self._trained_s = 0.0  # of these cells
        self._load = Load()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write_regularly, daemon=True)
        self._sampler = threading.Thread(target=self._sample_regularly, daemon=True)

    @property
    def name(self) -> str:
        """Name, without suffix, of the files of this sweep."""
        return state_name(self.started, os.getpid())

    def watch(self, protocol: Protocol, plan: Plan) -> Callable[[], None]:
        """Start the thread; returns the callback for every change. Ray must be connected."""
        self.protocol, self.times = protocol, JobTimes(protocol, plan)
        self._left = self.times.time_left()
        self._thread.start()
        self._sampler.start()
        return self.update

    def update(self) -> None:
        """Record which jobs started and which ended."""
        now, running = self.clock(), dict(self.protocol.running)
        with self._lock:
            for key in set(self._since) - set(running):
                since, job = self._since.pop(key)
                if key not in self.protocol.failed and all(cell.id in self.protocol.done for cell in job.cells()):
                    self.times.add(job, now - since)
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
            return self.write(outcome)
        except (OSError, UserError):  # the folder cannot be used; the caller reports it
            return None

    def _sample_regularly(self) -> None:
        psutil.cpu_percent()  # it measures from the last call in the same thread
        while not self._over.wait(WRITE_EVERY_S):
            self._load.sample()

    def _write_regularly(self) -> None:
        while not self._over.wait(WRITE_EVERY_S):
            with contextlib.suppress(OSError, UserError):  # the folder may be back the next time
                self.write()

    def write(self, outcome: str = "") -> SweepState:
        with self._lock:
            state = self._state(outcome)
        with contextlib.suppress(OSError):  # a sweep does not end because its state cannot be written
            write_state(self.store, state)
        return state

    def _state(self, outcome: str) -> SweepState:
        now, failed, tasks = self.clock(), dict(self.protocol.failed), self._by_task()
        counts = Counts(total=self.protocol.total(), **sum(tasks.values(), Counter[str]()))
        each = counts.total // len(tasks)  # every task has the same studies
        jobs = []
        for since, job in self._since.values():
            cell = job.cell
            jobs.append(RunningJob(job=job.kind, cell=cell.id, task=cell.task, method=cell.method, since=since))
        data_wait = None
        if self._trained_s:
            data_wait = min(1.0, self._waited_s / self._trained_s)
        return SweepState(
            recipe=self.recipe,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self.started,
            updated=now,
            counts=counts,
            tasks={task: Counts(total=each, **numbers) for task, numbers in tasks.items()},
            running=tuple(jobs),
            failed=failed,
            ended=now if outcome else None,
            outcome=outcome,
            left_s=None if outcome else self.seconds_left(),
            basis=self._left[1],
            forecast_s=self.times.plan.wall_s or None,
            estimate=self.times.plan.rate.estimate,
            slots=self.slots,
            busy=self._load.means(),
            busy_lately=self._load.means(LATELY),
            data_wait=data_wait,
            gpus_set_aside=dict(self.aside),
            searches=self.protocol.recipe.searches,
            selection=self.protocol.recipe.selection,
        )

    def _by_task(self) -> dict[str, Counter[str]]:
        """Task -> how many of its cells are done, found done, failed, pruned or running."""
        protocol, jobs = self.protocol, self.protocol.jobs
        done = set(protocol.done)
        reused = protocol.reused & done
        self._read_durations(done - reused - self._seen)
        tasks = {task: Counter[str]() for task in protocol.recipe.tasks}
        for cell in done:
            tasks[jobs[cell].cell.task]["done"] += 1
        for cell in reused:
            tasks[jobs[cell].cell.task]["reused"] += 1
        for key in list(protocol.failed):
            tasks[jobs[key].cell.task]["failed"] += protocol.cells_of(key)
        for task in protocol.pruned.values():
            tasks[task]["pruned"] += 1
        for _, job in self._since.values():
            tasks[job.cell.task]["running"] += 1
        return tasks

    def _read_durations(self, cells: Collection[str]) -> None:
        """Note for how long devices waited for images."""
        for cell in cells:
            durations = self.store.read(cell).durations
            self._seen.add(cell)
            if "data_wait" in durations:
                self._waited_s += durations["data_wait"]
                self._trained_s += durations["train"]


class Load:
    """Mean load of the CPU and the GPUs of this machine, as shares in [0, 1]."""

    def __init__(self) -> None:
        self._samples: list[dict[str, float]] = []

    def sample(self) -> None:
        """Take a sample; to be called regularly, from one thread."""
        self._samples.append({"CPU": psutil.cpu_percent() / 100, **busy_gpus()})

    def means(self, count: int = 0) -> dict[str, float]:
        """Device -> mean share; empty before the first sample. count: of so many last samples; 0 for all."""
        shares: dict[str, list[float]] = defaultdict(list)
        for sample in self._samples[-count:]:
            for device, share in sample.items():
                shares[device].append(share)
        return {device: fmean(of_device) for device, of_device in shares.items()}
