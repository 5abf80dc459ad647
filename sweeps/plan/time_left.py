"""How long a running sweep still takes, from how long its own jobs took. No Ray."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from carft.models.availability import size_of
from sweeps.plan.forecast import simulate
from sweeps.plan.planning import Plan
from sweeps.plan.work import Costs, PendingWork, pending_work
from sweeps.search.protocol import Job, Kind, Protocol

#: jobs that are alike in what a pass takes: their kind, and whether they train
Group = tuple[Kind, bool]


class TimeLeft:
    """Times the jobs of a sweep by kind, and those that train apart from those that do not.

    A kind of which no job has ended takes as long for a pass as the other kinds that train, or as those that do not;
    before one of these has ended, as the records say on which the plan rests.
    """

    def __init__(self, protocol: Protocol, plan: Plan) -> None:
        self.protocol, self.size = protocol, size_of(plan.model)
        self.slots = max(1, plan.forecast.slots)
        self.costs = plan.costs or Costs(protocol.store.catalog)
        self._recorded = plan.rates if plan.rates is not None and not plan.rates.estimate else None
        self._work = {_key(work.kind, work.task, work.method): work for work in plan.forecast.left}
        self._pass_s: dict[Group, list[float]] = defaultdict(list)  # seconds per pass of the jobs that ended
        self._job_s: dict[Group, list[float]] = defaultdict(list)

    def add(self, job: Job, seconds: float) -> None:
        """Note how long a job took."""
        work = self._work.get(_key(job.kind, job.cell.task, job.cell.method))
        if work is not None and work.passes:
            group = job.kind, work.trains
            self._pass_s[group].append(seconds / work.passes)
            self._job_s[group].append(seconds)

    def estimate(self) -> tuple[float | None, str]:
        """(Seconds left if the running jobs had just begun, what this rests on); None where a rate is not known."""
        if not self._job_s:
            return None, "no job of this sweep has ended yet"
        left = pending_work(self.protocol, self.size, self.costs)
        unknown = [work for work in left if self._seconds_of(work) is None]
        if unknown:
            return None, f"no {'training' if unknown[0].trains else 'job without training'} of this sweep has ended yet"
        length = simulate(left, self.slots, lambda work: self._seconds_of(work) or 0.0)
        jobs = sum(map(len, self._job_s.values()))
        each = ", ".join(f"{_label(*group)} {median(seconds):.1f} s" for group, seconds in sorted(self._job_s.items()))
        return length, f"{jobs} jobs of this sweep ({each}), {self.slots} at a time"

    def _seconds_of(self, work: PendingWork) -> float | None:
        """Seconds of a job; None where nothing is known."""
        alike = [s for (_, trains), found in self._pass_s.items() if trains == work.trains for s in found]
        if measured := self._pass_s.get((work.kind, work.trains), alike):
            return work.passes * median(measured)
        return work.passes * self._recorded.of(work.trains).seconds if self._recorded else None


def _key(kind: Kind, task: str, method: str) -> tuple[Kind, str, str]:
    """What jobs of as many passes have in common. Curves and soups of a task do not differ by method."""
    return kind, task, "" if kind in ("curve", "soup") else method


def _label(kind: Kind, trains: bool) -> str:
    return kind if trains or kind not in ("search", "confirm") else f"untrained {kind}"
