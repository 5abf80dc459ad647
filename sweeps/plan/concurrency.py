"""How many jobs of a sweep run at a time, from the order in which they wait for each other. No Ray."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.plan.forecast import PendingWork

#: kinds of jobs of a study that start once its confirm cells are there
LAST = ("curve", "soup", "oracle")
#: share of the whole time below which a number of jobs is not shown
SHOWN = 0.02


@dataclass(frozen=True)
class Concurrency:
    """Jobs at a time of a sweep from start to end."""

    length: float
    """Time from the first job's start to the last job's end, in the unit of the jobs."""
    at_a_time: tuple[tuple[int, float], ...]
    """(jobs at a time, how long in all), the largest number first; short times are left out."""


def concurrency_of(left: Sequence[PendingWork], slots: int, round_size: int) -> Concurrency:
    """Run the jobs that are left in thought: free slots take what may run, searches first.

    The rounds of a search follow each other, its confirm cells follow them, and its curves, soups and oracle cells
    these. Lengths are in passes of one cell. slots: jobs at a time, at least 1. round_size: trials of a round.
    """
    waiting = [deque(stages) for stages in _stages(left, round_size)]
    first: list[tuple[int, float, int]] = []  # (rank, length, study) of the jobs that may run
    open_jobs = [0] * len(waiting)
    running: list[tuple[float, int]] = []  # (end, study)
    now = 0.0

    def release(study: int) -> None:
        """Make the next jobs of a study ready."""
        if waiting[study]:
            stage = waiting[study].popleft()
            open_jobs[study] = len(stage)
            for rank, length in stage:
                heapq.heappush(first, (rank, -length, study))

    for study in range(len(waiting)):
        release(study)
    lengths: dict[int, float] = defaultdict(float)
    while first or running:
        while first and len(running) < slots:
            _, negative, study = heapq.heappop(first)
            heapq.heappush(running, (now - negative, study))
        end = running[0][0]
        lengths[len(running)] += end - now
        now = end
        while running and running[0][0] <= now:
            _, study = heapq.heappop(running)
            open_jobs[study] -= 1
            if not open_jobs[study]:
                release(study)
    shown = {jobs: length for jobs, length in lengths.items() if length > SHOWN * now}
    return Concurrency(now, tuple(sorted(shown.items(), reverse=True)))


def _stages(left: Iterable[PendingWork], round_size: int) -> Iterable[list[list[tuple[int, float]]]]:
    """For each study its stages, each with (rank, length) of its jobs; jobs of no study are studies of their own."""
    studies: dict[str, dict[str, list[PendingWork]]] = defaultdict(lambda: defaultdict(list))
    for one in left:
        if not one.study:
            yield [[(1, one.passes)] * one.jobs]
        else:
            studies[one.study][one.kind].append(one)
    for kinds in studies.values():
        searches = [(0, one.passes) for one in kinds["search"] for _ in range(one.jobs)]
        rounds = [searches[start : start + round_size] for start in range(0, len(searches), round_size)]
        confirms = [(1, one.passes) for one in kinds["confirm"] for _ in range(one.jobs)]
        last = [(1, one.passes) for kind in LAST for one in kinds[kind] for _ in range(one.jobs)]
        yield [stage for stage in (*rounds, confirms, last) if stage]
