"""Forecast of a sweep: the work that is left, in the order in which jobs wait for each other, times a rate. No Ray."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from carft.config.registry import SOUP_RULES
from carft.models.availability import ModelSize
from sweeps.plan.rates import Costs, Rates
from sweeps.search.protocol import Kind, Protocol
from sweeps.search.study import Study

#: seconds until the first cell runs: start of Ray, imports, the model
START_S = 15.0
#: factor of the upper end of the range for what no record holds: opening data, writing records, handing out jobs
OVERHEAD = 1.5
#: kind of job -> its turn: confirm cells of a study follow its search; curves, soups and oracle cells follow these
STAGES: Mapping[Kind, int] = {"search": 0, "grid": 0, "confirm": 1, "curve": 2, "soup": 2, "oracle": 2}


@dataclass(frozen=True)
class PendingWork:
    """Jobs of one kind, task and method that still have to run. Passes, steps and bytes on disk are those of one."""

    study: str
    """Id of the study, or of the first one that shares its setting; of an untrained method the key of its job."""
    kind: Kind
    task: str
    method: str
    jobs: int
    cells: int
    """Cells of all these jobs."""
    passes: float
    steps: int
    bytes: float

    @property
    def trains(self) -> bool:
        """Whether a job trains in epochs. Others only predict, or fit on features."""
        return self.steps > 0


@dataclass(frozen=True)
class Forecast:
    """Cells, time and disk of what is left of a sweep. Times are in seconds, and 0 when no rate is known."""

    total: int
    """Cells of the sweep, of which ``done`` have a record."""
    done: int
    failed: int
    """Cells that failed before and do not run again, and cells that wait for those."""
    left: tuple[PendingWork, ...]
    busy_s: float
    """Of all cells, one after another."""
    wall_s: float
    """Of the sweep, from ``low_s`` to ``high_s``."""
    low_s: float
    high_s: float
    slots: int
    """Cells at a time at most."""
    basis: str
    """What the times come from, as text."""
    estimate: bool
    """Whether nothing was measured."""

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


def forecast(protocol: Protocol, slots: int, rates: Rates, size: ModelSize | None, costs: Costs) -> Forecast:
    """The forecast of what ``protocol`` has left. slots: cells at a time. size: of the model, None if unknown."""
    left = tuple(pending_work(protocol, size, costs))

    def wall(end: str) -> float:
        """Seconds of the sweep with the median, low or high end of the rates."""
        length = simulate(left, slots, lambda work: work.passes * getattr(rates.of(work.trains), end))
        return START_S + length if length else 0.0

    return Forecast(
        total=protocol.total(),
        done=len(protocol.done),
        failed=max(0, protocol.total() - len(protocol.done) - sum(work.cells for work in left)),
        left=left,
        busy_s=sum(work.jobs * work.passes * rates.of(work.trains).seconds for work in left),
        wall_s=wall("seconds"),
        low_s=wall("low"),
        high_s=wall("high") * OVERHEAD,
        slots=slots,
        basis=rates.basis,
        estimate=rates.estimate,
    )


def simulate(left: Sequence[PendingWork], slots: int, seconds_of: Callable[[PendingWork], float]) -> float:
    """Simulate the jobs that are left: free slots take what may run, searches first, then the longest.

    The jobs of a study wait for those of its earlier :data:`STAGES`. slots: jobs at a time, at least 1. seconds_of:
    seconds of one job. Returns the seconds from the first job's start to the last job's end.
    """
    waiting: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))  # study -> stage -> seconds
    for work in left:
        waiting[work.study][STAGES[work.kind]] += [seconds_of(work)] * work.jobs
    ready: list[tuple[bool, float, str]] = []  # (whether it is no search, negative seconds, study)
    unfinished: Counter[str] = Counter()  # jobs of the current stage of a study
    running: list[tuple[float, str]] = []  # (end, study)
    now = 0.0

    def release(study: str) -> None:
        """Make the jobs of the next stage of a study ready."""
        if stages := waiting[study]:
            lengths = stages.pop(stage := min(stages))
            unfinished[study] = len(lengths)
            for seconds in lengths:
                heapq.heappush(ready, (stage > 0, -seconds, study))

    for study in list(waiting):
        release(study)
    while ready or running:
        while ready and len(running) < slots:
            _, negative, study = heapq.heappop(ready)
            heapq.heappush(running, (now - negative, study))
        now = running[0][0]
        while running and running[0][0] <= now:
            _, study = heapq.heappop(running)
            unfinished[study] -= 1
            if not unfinished[study]:
                release(study)
    return now


def pending_work(protocol: Protocol, size: ModelSize | None, costs: Costs) -> list[PendingWork]:
    """The work of every kind, task and method of which jobs still have to run. size: of the model, None if unknown."""
    pending = []
    for job in protocol.untrained_jobs:
        task, method = job.cell.task, job.cell.method
        images = costs.sizes(task)
        opened = images.val + images.sealed
        missing, stored = int(not protocol.state.is_settled(job)), costs.prediction_bytes(task, opened)
        pending.append(PendingWork(job.key, "confirm", task, method, missing, missing, opened, 0, stored))
    for study in protocol.studies:
        pending += _work_of(protocol, study, costs, 4 * size.parameters if size else 0)
    return [work for work in pending if work.jobs]


def _work_of(protocol: Protocol, study: Study, costs: Costs, weights: int) -> Iterator[PendingWork]:
    """The work of each kind of job of a study, also where none is left. weights: bytes of the model's."""
    recipe, task, progress = protocol.recipe, study.task, protocol.progress(study)
    if progress.no_winner:
        return
    images, card, method = costs.sizes(task), recipe.catalog.card(task), study.method
    steps = recipe.training.bounds(images.train, max(1, card.domains))[-1] if method.epoch_passes else 0
    training, sealed = costs.passes(method.name, task, recipe.training), images.sealed
    small, whole = (costs.prediction_bytes(task, count) for count in (images.val, images.val + sealed))
    kept = weights if study.planned_jobs.get("soup") or recipe.oracle else 0
    alphas, rules = len(recipe.alphas), len(SOUP_RULES)
    curve_passes = (alphas - 2) * (images.val + sealed)  # predictions of both ends are on disk
    # kind -> method that it counts for; cells, passes, steps and bytes of a job
    of_a_job: Mapping[Kind, tuple[str, int, float, int, float]] = {
        "search": (method.name, 1, training, steps, small + kept),
        "grid": (method.name, 1, training + sealed, steps, whole),
        "confirm": (method.name, 1, training + sealed, steps, whole + weights),
        "curve": ("wise_ft", alphas, curve_passes, 0, alphas * whole),
        "soup": ("soup", rules, recipe.trials * images.val + rules * sealed, 0, rules * (whole + weights)),
        "oracle": (method.name, 0, sealed, 0, whole - small),
    }
    first = protocol.peers(study)[0].id
    settled = Counter(job.kind for job in progress.jobs if protocol.state.is_settled(job))
    for kind, wanted in study.planned_jobs.items():
        jobs, (counted_for, cells, passes, steps, bytes_) = max(0, wanted - settled[kind]), of_a_job[kind]
        yield PendingWork(first, kind, task, counted_for, jobs, jobs * cells, passes, steps, bytes_)
