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
        self.protocol, self.size, self.widens = protocol, size_of(plan.model), plan.widens
        self.slots = max(1, plan.forecast.slots)
        self.costs = plan.costs or Costs(protocol.store.catalog)
        self._recorded = plan.rates if plan.rates is not None and not plan.rates.estimate else None
        self._work = {_key(work.kind, work.task, work.method): work for work in plan.forecast.left}
        self._warm: dict[Group, list[float]] = defaultdict(list)  # seconds per pass of the jobs that ended
        self._cold: dict[Group, list[float]] = defaultdict(list)  # of those that waited for their process to start
        self._job_s: dict[Group, list[float]] = defaultdict(list)

    def add(self, job: Job, seconds: float, cold: bool) -> None:
        """Note how long a job took. cold: whether its process had to start first."""
        work = self._work.get(_key(job.kind, job.cell.task, job.cell.method))
        if work is not None and work.passes:
            group = job.kind, work.trains
            (self._cold if cold else self._warm)[group].append(seconds / work.passes)
            self._job_s[group].append(seconds)

    def estimate(self) -> tuple[float | None, str]:
        """(Seconds left if the running jobs had just begun, what this rests on); None where a rate is not known."""
        if not self._job_s:
            return None, "no job of this sweep has ended yet"
        left = pending_work(self.protocol, self.size, self.costs)
        unknown = [work for work in left if self._pass_s(work) is None]
        if unknown:
            return None, f"no {'training' if unknown[0].trains else 'job without training'} of this sweep has ended yet"
        length, _ = simulate(left, self.slots, lambda work: work.passes * (self._pass_s(work) or 0.0), self.widens)
        jobs = sum(map(len, self._job_s.values()))
        each = ", ".join(f"{_label(*group)} {median(seconds):.1f} s" for group, seconds in sorted(self._job_s.items()))
        guessed = dict.fromkeys(_label(w.kind, w.trains) for w in left if (w.kind, w.trains) not in self._job_s)
        guess = f"; {' and '.join(guessed)} not measured yet, from the seconds a pass of others" if guessed else ""
        return length, f"{jobs} jobs of this sweep ({each}), {self.slots} at a time{guess}"

    def _pass_s(self, work: PendingWork) -> float | None:
        """Seconds of a pass; None where nothing is known."""
        for seconds in (self._warm, self._cold):
            if own := seconds.get((work.kind, work.trains)):
                return median(own)
        for seconds in (self._warm, self._cold):
            if alike := [value for (_, trains), values in seconds.items() if trains == work.trains for value in values]:
                return median(alike)
        return self._recorded.of(work.trains).seconds if self._recorded else None


def _key(kind: Kind, task: str, method: str) -> tuple[Kind, str, str]:
    """What jobs of as many passes have in common. Curves and soups of a task do not differ by method."""
    return kind, task, "" if kind in ("curve", "soup") else method


def _label(kind: Kind, trains: bool) -> str:
    return kind if trains or kind not in ("search", "confirm") else f"untrained {kind}"
