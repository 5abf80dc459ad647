"""How long the jobs of a running sweep took: from it, the time left, and GPUs that are slower than the others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from carft.models.availability import size_of
from sweeps.plan.forecast import PendingWork, pending_work, simulate
from sweeps.plan.planning import Plan
from sweeps.search.protocol import Job, Kind, Protocol

#: time over that of the others from which on a GPU is slow, and jobs that must tell
SLOW, LEAST_JOBS = 1.25, 3


@dataclass(frozen=True)
class EndedJob:
    """A job that is done."""

    work: PendingWork
    """The jobs that are alike, of which it is one."""
    seconds: float
    gpu: str
    """Empty where it is not known."""


class JobTimes:
    """Times the jobs of a sweep by kind, and those that train apart from those that do not.

    A kind of which no job has ended takes as long for a pass as the other kinds that train, or as those that do not;
    before one of these has ended, as the records say on which the plan rests.
    """

    def __init__(self, protocol: Protocol, plan: Plan) -> None:
        self.protocol, self.plan = protocol, plan
        self.size, self.slots = size_of(plan.model), max(1, plan.forecast.slots)
        self._work = {(work.kind, work.task, work.method): work for work in plan.forecast.left}
        self._ended: list[EndedJob] = []

    def add(self, job: Job, seconds: float, gpu: str = "") -> None:
        """Note how long a job took. gpu: on which; empty where it is not known."""
        post_hoc = {"curve": "wise_ft", "soup": "soup"}  # as they are counted: they do not differ by method
        work = self._work.get((job.kind, job.cell.task, post_hoc.get(job.kind, job.cell.method)))
        if work is not None and work.passes:
            self._ended.append(EndedJob(work, seconds, gpu))

    def time_left(self) -> tuple[float | None, str]:
        """(Seconds left if the running jobs had just begun, what this rests on); None where a rate is not known."""
        if not self._ended:
            return None, "no job of this sweep has ended yet"
        left = pending_work(self.protocol, self.size, self.plan.costs)
        pass_s: dict[tuple[Kind, bool], float] = {}
        for kind, trains in {(work.kind, work.trains) for work in left}:
            if (seconds := self._seconds_per_pass(kind, trains)) is None:
                return None, f"no {'training' if trains else 'job without training'} of this sweep has ended yet"
            pass_s[kind, trains] = seconds
        length = simulate(left, self.slots, lambda work: work.passes * pass_s[work.kind, work.trains])
        return length, f"{len(self._ended)} jobs of this sweep ({self._medians()}), {self.slots} at a time"

    def _seconds_per_pass(self, kind: Kind, trains: bool) -> float | None:
        """The median of the jobs of a kind, else of those that train as well or do not; None where none tells."""
        alike = [one for one in self._ended if one.work.trains == trains]
        if measured := [one for one in alike if one.work.kind == kind] or alike:
            return median(one.seconds / one.work.passes for one in measured)
        return None if self.plan.rates.estimate else self.plan.rates.of(trains).seconds

    def _medians(self) -> str:
        """The median duration of each kind of job, in words."""
        seconds: dict[tuple[Kind, bool], list[float]] = defaultdict(list)
        for one in self._ended:
            seconds[one.work.kind, one.work.trains].append(one.seconds)
        words = []
        for (kind, trains), of_kind in sorted(seconds.items()):
            untrained = "" if trains or kind not in ("search", "confirm") else "untrained "
            words.append(f"{untrained}{kind} {median(of_kind):.1f} s")
        return ", ".join(words)

    def slow_gpus(self) -> dict[str, float]:
        """GPU -> its time over that of the others for alike jobs, the median over its jobs, of GPUs that are slow."""
        by_gpu: dict[PendingWork, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for one in self._ended:
            if one.gpu:
                by_gpu[one.work][one.gpu].append(one.seconds)
        ratios: dict[str, list[float]] = defaultdict(list)
        for seconds in by_gpu.values():
            for gpu, own in seconds.items():
                if others := [value for other, values in seconds.items() if other != gpu for value in values]:
                    ratios[gpu] += [value / median(others) for value in own]
        medians = {gpu: median(values) for gpu, values in ratios.items() if len(values) >= LEAST_JOBS}
        return {gpu: ratio for gpu, ratio in medians.items() if ratio >= SLOW}
