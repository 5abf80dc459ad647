"""How many jobs of a sweep run at a time, from the order in which they wait for each other. No Ray."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sweeps.plan.work import PendingWork
from sweeps.search.protocol import slots_of_a_confirm_cell

#: kinds of jobs of a study that start once its confirm cells are there
LAST = ("curve", "soup", "oracle")
#: share of the whole time below which a number of jobs is not shown
SHOWN = 0.02


@dataclass(frozen=True)
class Concurrency:
    """Jobs at a time of a sweep from start to end."""

    length: float
    """Seconds from the first job's start to the last job's end."""
    at_a_time: tuple[tuple[int, float], ...]
    """(jobs at a time, seconds in all), the largest number first; short times are left out."""


@dataclass(frozen=True, order=True)
class _Ready:
    """A job that may run. They sort in the order in which they start."""

    rank: int
    negative_length: float
    study: int
    is_confirm: bool

    @property
    def trains(self) -> bool:
        """Whether it is a search or a confirm cell of a study."""
        return self.rank == 0 or self.is_confirm


def concurrency_of(
    left: Sequence[PendingWork],
    slots: int,
    seconds_of: Callable[[PendingWork], float],
    widens: bool = False,
) -> Concurrency:
    """Simulate the jobs that are left: free slots take what may run, searches first.

    The confirm cells of a study follow its search cells, and its curves, soups and oracle cells follow these.

    Args:
        left: Work of the sweep.
        slots: Jobs at a time, at least 1.
        seconds_of: Seconds of one job of some work.
        widens: Whether a confirm cell that takes several slots is that many times faster.
    """
    waiting = [deque(stages) for stages in _stages(left, seconds_of)]
    first: list[_Ready] = []
    open_jobs = [0] * len(waiting)
    running: list[tuple[float, int, int]] = []  # (end, study, slots)
    now, free = 0.0, slots

    def release(study: int) -> None:
        """Make the next jobs of a study ready."""
        if waiting[study]:
            stage = waiting[study].popleft()
            open_jobs[study] = len(stage)
            for rank, length, is_confirm in stage:
                heapq.heappush(first, _Ready(rank, -length, study, is_confirm))

    for study in range(len(waiting)):
        release(study)
    lengths: dict[int, float] = defaultdict(float)
    while first or running:
        while first and free > 0:
            job = heapq.heappop(first)
            share = 1
            if widens and job.is_confirm:
                share = slots_of_a_confirm_cell(slots, free, 1 + sum(other.trains for other in first))
            heapq.heappush(running, (now - job.negative_length / share, job.study, share))
            free -= share
        end = running[0][0]
        lengths[len(running)] += end - now
        now = end
        while running and running[0][0] <= now:
            _, study, share = heapq.heappop(running)
            free += share
            open_jobs[study] -= 1
            if not open_jobs[study]:
                release(study)
    shown = {jobs: length for jobs, length in lengths.items() if length > SHOWN * now}
    return Concurrency(now, tuple(sorted(shown.items(), reverse=True)))


def _stages(
    left: Iterable[PendingWork], seconds_of: Callable[[PendingWork], float]
) -> Iterable[list[list[tuple[int, float, bool]]]]:
    """For each study its stages, each with its jobs: rank, seconds, and whether it is a confirm cell.

    Jobs of no study are studies of their own.
    """
    studies: dict[str, dict[str, list[PendingWork]]] = defaultdict(lambda: defaultdict(list))
    for work in left:
        if not work.study:
            yield [[(1, seconds_of(work), False)] * work.jobs]
        else:
            studies[work.study][work.kind].append(work)
    for kinds in studies.values():
        begun = (*kinds["search"], *kinds["grid"])
        searches = [(0, seconds_of(work), False) for work in begun for _ in range(work.jobs)]
        confirms = [(1, seconds_of(work), True) for work in kinds["confirm"] for _ in range(work.jobs)]
        last = [(1, seconds_of(work), False) for kind in LAST for work in kinds[kind] for _ in range(work.jobs)]
        yield [stage for stage in (searches, confirms, last) if stage]
