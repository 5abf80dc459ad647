"""Writes the state of a running sweep to disk, for `status`: counts, running jobs, time left, load."""

import contextlib
import os
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from statistics import fmean, median

import psutil

from carft.core.errors import UserError
from carft.store.records import Store
from carft.store.sweep_state import Counts, RunningJob, SweepState, state_name, write_state
from carft.training.device import busy_gpus
from sweeps.faults.watchdog import gpu_of, log_path
from sweeps.plan.planning import Plan
from sweeps.plan.work import PendingWork, pending_work, simulate
from sweeps.ray_backend.gpus import OtherNodes
from sweeps.search.protocol import Job, Protocol

WRITE_EVERY_S = 3.0
#: samples of the load of the last five minutes
LATELY = int(300 / WRITE_EVERY_S)
#: this machine among nodes
HERE = ""
#: time over that of the others from which on a GPU is slow, and jobs that must tell
SLOW, LEAST_JOBS = 1.25, 3


class JobTimes:
    """Times the jobs of a sweep, those that train apart from those that do not.

    Before one of these has ended, a pass takes as long as the records say on which the plan rests.
    """

    def __init__(self, protocol: Protocol, plan: Plan) -> None:
        self.protocol, self.plan, self.slots = protocol, plan, max(1, plan.slots)
        self._work = {(work.kind, work.task, work.method): work for work in plan.left}
        self._ended = 0
        self._seconds: dict[bool, float] = defaultdict(float)  # of the jobs that train, and of the others
        self._passes: dict[bool, float] = defaultdict(float)
        self._by_gpu: dict[PendingWork, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, job: Job, seconds: float, gpu: str) -> None:
        """Note how long a job took. gpu: on which; empty where it is not known."""
        post_hoc = {"curve": "wise_ft", "soup": "soup"}  # as they are counted: they do not differ by method
        work = self._work.get((job.kind, job.cell.task, post_hoc.get(job.kind, job.cell.method)))
        if work is not None and work.passes:
            self._ended += 1
            self._seconds[work.trains] += seconds
            self._passes[work.trains] += work.passes
            if gpu:
                self._by_gpu[work][gpu].append(seconds)

    def time_left(self) -> tuple[float | None, str]:
        """(Seconds left if the running jobs had just begun, what this rests on); None where a rate is not known."""
        if not self._ended:
            return None, "no job of this sweep has ended yet"
        left = pending_work(self.protocol, self.plan.size, self.plan.costs)
        pass_s: dict[bool, float] = {}
        for work in left:
            trains = work.trains
            if self._passes[trains]:
                pass_s[trains] = self._seconds[trains] / self._passes[trains]
            elif self.plan.rate.estimate:
                missing = "training" if trains else "job without training"
                return None, f"no {missing} of this sweep has ended yet"
            else:
                pass_s[trains] = self.plan.rate.seconds
        length = simulate(left, self.slots, lambda work: work.passes * pass_s[work.trains])
        return length, f"{self._ended} jobs of this sweep, {self.slots} at a time"

    def slow_gpus(self) -> dict[str, float]:
        """GPU -> its time over that of the others for alike jobs, the median over its jobs, of GPUs that are slow."""
        ratios: dict[str, list[float]] = defaultdict(list)
        for by_gpu in self._by_gpu.values():
            for gpu, own in by_gpu.items():
                others: list[float] = []
                for other, seconds in by_gpu.items():
                    if other != gpu:
                        others += seconds
                if others:
                    usual = median(others)
                    ratios[gpu] += [seconds / usual for seconds in own]
        slow = {}
        for gpu, values in ratios.items():
            if len(values) >= LEAST_JOBS and median(values) >= SLOW:
                slow[gpu] = median(values)
        return slow


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
        if plan.request.address is not None and plan.request.gpus:
            self._load = Load(OtherNodes())
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
                    self.times.add(job, now - since, self._gpu_of(key))
            for key in set(running) - set(self._since):
                self._since[key] = now, running[key]
            self.slots = max(self.slots, len(running))
            if now - self._estimated > WRITE_EVERY_S:  # it counts all jobs that are left
                self._estimated = now
                with contextlib.suppress(OSError, UserError):  # the folder may be back the next time
                    self._left = self.times.time_left()

    def _gpu_of(self, key: str) -> str:
        """The GPU of a job by its log; empty where the log names none or is not here."""
        with contextlib.suppress(OSError):
            return gpu_of(log_path(self.store.root, key))
        return ""

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
        protocol, now = self.protocol, self.clock()
        done, failed, pruned = dict(protocol.done), dict(protocol.failed), protocol.pruned
        reused = protocol.reused & set(done)
        self._read_durations(set(done) - reused - self._seen)
        lost = sum(protocol.cells_of(key) for key in failed)
        total, running = protocol.total(), len(self._since)
        ended = {"done": len(done), "reused": len(reused), "failed": lost, "pruned": len(pruned)}
        counts = Counts(total=total, running=running, **ended)
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
            tasks=self._by_task(done, reused, failed, Counter(pruned.values())),
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
            busy_nodes=self._load.of_nodes(LATELY),
            data_wait=data_wait,
            gpus_slow=self.times.slow_gpus(),
            gpus_set_aside=dict(self.aside),
            searches=protocol.recipe.searches,
            selection=protocol.recipe.selection,
        )

    def _read_durations(self, cells: Collection[str]) -> None:
        """Note for how long devices waited for images."""
        for cell in cells:
            durations = self.store.read(cell).durations
            self._seen.add(cell)
            if "data_wait" in durations:
                self._waited_s += durations["data_wait"]
                self._trained_s += durations["train"]

    def _by_task(
        self, done: Collection[str], reused: Collection[str], failed: Collection[str], pruned: Counter[str]
    ) -> dict[str, Counts]:
        tasks, protocol = self.protocol.recipe.tasks, self.protocol
        total = protocol.total() // len(tasks)  # every task has the same studies
        ended = Counter(protocol.jobs[cell].cell.task for cell in done)
        before = Counter(protocol.jobs[cell].cell.task for cell in reused)
        running = Counter(job.cell.task for _, job in self._since.values())
        lost: Counter[str] = Counter()
        for key in failed:
            lost[protocol.jobs[key].cell.task] += protocol.cells_of(key)
        by_task = {}
        for task in tasks:
            by_task[task] = Counts(
                total=total,
                done=ended[task],
                reused=before[task],
                failed=lost[task],
                pruned=pruned[task],
                running=running[task],
            )
        return by_task


class Load:
    """Mean load as shares in [0, 1]: of the CPU and the GPUs of this machine, and of the GPUs of other nodes."""

    def __init__(self, others: OtherNodes | None = None) -> None:
        self.others = others
        self._samples: dict[str, dict[str, list[float]]] = {HERE: {}}  # node -> device -> shares

    def sample(self) -> None:
        """Take a sample; to be called regularly, from one thread."""
        found = {HERE: {"CPU": psutil.cpu_percent() / 100, **busy_gpus()}}
        if self.others is not None:
            with contextlib.suppress(Exception):  # Ray may be gone, which its monitor reports
                found |= self.others.busy()
        for node, shares in found.items():
            samples = self._samples.setdefault(node, {})
            for name, share in shares.items():
                samples.setdefault(name, []).append(share)

    def means(self, count: int = 0, node: str = HERE) -> dict[str, float]:
        """Device of a node -> mean share; empty before the first sample. count: of so many last samples; 0 for all."""
        samples = list(self._samples[node].items())  # another thread may add some
        return {name: fmean(shares[-count:]) for name, shares in samples}

    def of_nodes(self, count: int) -> dict[str, dict[str, float]]:
        """Other node -> the same of its GPUs."""
        return {node: self.means(count, node) for node in list(self._samples) if node != HERE}
