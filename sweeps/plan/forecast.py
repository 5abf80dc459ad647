"""Forecast of a sweep: the work that is left, in the order in which jobs wait for each other, times a rate. No Ray."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carft.models.availability import ModelSize
from sweeps.plan.rates import Rate, Rates
from sweeps.plan.work import Costs, PendingWork, pending_work
from sweeps.search.protocol import Protocol, slots_of_a_confirm_cell

#: seconds until the first cell runs: start of Ray, imports, the model
START_S = 15.0
#: factor of the upper end of the range for what no record holds: opening data, writing records, handing out jobs
OVERHEAD = 1.5
#: kinds of jobs of a study that start once its confirm cells are there
LAST = ("curve", "soup", "oracle")
#: share of the whole time below which a number of jobs is not shown
SHOWN = 0.02
#: jobs above which all slots count as busy from start to end
MANY = 100_000
#: the rates of a model whose size is not known
UNKNOWN = Rates.alike(Rate(0.0, 0.0, 0.0), "nothing: the model's size is not known, and nothing was measured", True)


@dataclass(frozen=True)
class Forecast:
    """Cells, time and disk of what is left of a sweep. All times are 0 when no rate is known."""

    total: int
    """Cells of the sweep."""
    done: int
    """Cells with a record."""
    failed: int
    """Cells that failed before and do not run again, and cells that wait for those."""
    left: tuple[PendingWork, ...]
    """What still has to run."""
    busy_s: float
    """Seconds of all cells, one after another."""
    wall_s: float
    """Seconds of the sweep, from ``low_s`` to ``high_s``."""
    low_s: float
    high_s: float
    slots: int
    """Cells at a time at most."""
    at_a_time: tuple[tuple[int, float], ...]
    """(jobs at a time, for how many seconds in all), the largest number first; short times are left out."""
    basis: str
    """What the times come from, as text."""
    estimate: bool
    """Whether nothing was measured."""

    @staticmethod
    def of(content: Mapping[str, Any]) -> Forecast:
        """A forecast from its fields as plain values."""
        left = tuple(PendingWork(**one) for one in content["left"])
        return Forecast(**{**content, "left": left, "at_a_time": tuple(map(tuple, content["at_a_time"]))})

    @property
    def cells(self) -> int:
        """Cells to run."""
        return sum(left.cells for left in self.left)

    @property
    def steps(self) -> int:
        """Optimisation steps to run."""
        return sum(left.jobs * left.steps for left in self.left)

    @property
    def bytes(self) -> int:
        """Bytes that the sweep will write."""
        return round(sum(left.jobs * left.bytes for left in self.left))


def forecast(
    protocol: Protocol,
    slots: int,
    rates: Rates | None,
    size: ModelSize | None,
    widens: bool = False,
    misses: tuple[float, float] = (1.0, 1.0),
    costs: Costs | None = None,
) -> Forecast:
    """The forecast of what ``protocol`` has left.

    Args:
        protocol: Of the sweep.
        slots: Cells at a time.
        rates: Of this model on this hardware; None where nothing is known.
        size: Of the model; None where it is not known.
        widens: As of the request.
        misses: Smallest and largest ratio of the time that a sweep took to its forecast, of earlier sweeps. The range
            holds them.
        costs: What cells take; None: as far as it is known without a data folder.
    """
    rates = rates or UNKNOWN
    left = tuple(pending_work(protocol, size, costs or Costs(protocol.store.catalog)))

    def wall(end: str) -> tuple[float, tuple[tuple[int, float], ...]]:
        """Seconds of the sweep, and jobs at a time, with the median, low or high end of the rates."""
        length, at_a_time = simulate(
            left, slots, lambda work: work.passes * getattr(rates.of(work.trains), end), widens
        )
        return START_S + length if length else 0.0, at_a_time

    wall_s, at_a_time = wall("seconds")
    return Forecast(
        total=protocol.total(),
        done=len(protocol.done),
        failed=max(0, protocol.total() - len(protocol.done) - sum(one.cells for one in left)),
        left=left,
        busy_s=sum(work.jobs * work.passes * rates.of(work.trains).seconds for work in left),
        wall_s=wall_s,
        low_s=min(wall("low")[0], misses[0] * wall_s),
        high_s=max(wall("high")[0] * OVERHEAD, misses[1] * wall_s),
        slots=slots,
        at_a_time=at_a_time,
        basis=rates.basis,
        estimate=rates.estimate,
    )


def simulate(
    left: Sequence[PendingWork], slots: int, seconds_of: Callable[[PendingWork], float], widens: bool = False
) -> tuple[float, tuple[tuple[int, float], ...]]:
    """Simulate the jobs that are left: free slots take what may run, searches first.

    The confirm cells of a study follow its search cells, and its curves, soups and oracle cells follow these.

    Args:
        left: Work of the sweep.
        slots: Jobs at a time, at least 1.
        seconds_of: Seconds of one job of some work.
        widens: Whether a confirm cell that takes several slots is that many times faster.

    Returns:
        Seconds from the first job's start to the last job's end, and (jobs at a time, seconds in all) with the largest
        number first; short times are left out.
    """
    if sum(work.jobs for work in left) > MANY:
        length = sum(work.jobs * seconds_of(work) for work in left) / slots
        return length, ((slots, length),)
    waiting = [deque(stages) for stages in _stages(left, seconds_of)]
    ready: list[tuple[int, float, int, bool]] = []  # (rank, negative seconds, study, is a confirm cell)
    open_jobs = [0] * len(waiting)
    running: list[tuple[float, int, int]] = []  # (end, study, slots)
    now, free = 0.0, slots

    def release(study: int) -> None:
        """Make the next jobs of a study ready."""
        if waiting[study]:
            stage = waiting[study].popleft()
            open_jobs[study] = len(stage)
            for rank, length, is_confirm in stage:
                heapq.heappush(ready, (rank, -length, study, is_confirm))

    for study in range(len(waiting)):
        release(study)
    lengths: dict[int, float] = defaultdict(float)
    while ready or running:
        while ready and free > 0:
            _, negative, study, is_confirm = heapq.heappop(ready)
            share = 1
            if widens and is_confirm:
                trainings = sum(rank == 0 or confirms for rank, _, _, confirms in ready)
                share = slots_of_a_confirm_cell(slots, free, 1 + trainings)
            heapq.heappush(running, (now - negative / share, study, share))
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
    return now, tuple(sorted(shown.items(), reverse=True))


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
