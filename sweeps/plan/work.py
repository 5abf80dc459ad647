"""The work that is left of a sweep: its jobs by kind, task and method, and how long they take side by side."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from carft.config.registry import SoupRule
from carft.models.availability import ModelSize
from sweeps.plan.rates import Costs
from sweeps.search.jobs import JobKind
from sweeps.search.protocol import Protocol
from sweeps.search.study import Study

#: kind of job -> its turn: confirm cells follow searches; curves, soups and oracle cells follow these
STAGES: Mapping[JobKind, int] = {"search": 0, "grid": 0, "confirm": 1, "curve": 2, "soup": 2, "oracle": 2}


@dataclass(frozen=True)
class PendingWork:
    """Jobs of one kind, task and method that still have to run. Passes, steps and bytes on disk are those of one."""

    kind: JobKind
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


def simulate(left: Sequence[PendingWork], slots: int, seconds_of: Callable[[PendingWork], float]) -> float:
    """Seconds from the first job's start to the last job's end: those of one of :data:`STAGES` after the other.

    slots: jobs at a time, at least 1; free ones take the longest. seconds_of: seconds of one job.
    """
    lengths: dict[int, list[float]] = defaultdict(list)  # stage -> seconds of each job
    for work in left:
        lengths[STAGES[work.kind]] += [seconds_of(work)] * work.jobs
    total = 0.0
    for of_stage in lengths.values():
        ends = [0.0] * slots  # a heap
        for seconds in sorted(of_stage, reverse=True):
            heapq.heapreplace(ends, ends[0] + seconds)
        total += max(ends)
    return total


def pending_work(protocol: Protocol, size: ModelSize | None, costs: Costs) -> list[PendingWork]:
    """The work of every kind, task and method of which jobs still have to run. size: of the model, None if unknown."""
    pending = []
    for job in protocol.untrained_jobs:
        if protocol.state.is_settled(job):
            continue
        task, method = job.cell.task, job.cell.method
        images = costs.sizes(task)
        opened = images.val + images.sealed
        stored = costs.prediction_bytes(task, opened)
        pending.append(PendingWork("confirm", task, method, 1, 1, opened, 0, stored))
    weights = 4 * size.parameters if size else 0
    for study in protocol.studies:
        for work in _work_of(protocol, study, costs, weights):
            if work.jobs:
                pending.append(work)
    return pending


def _work_of(protocol: Protocol, study: Study, costs: Costs, weights: int) -> Iterator[PendingWork]:
    """The work of each kind of job of a study, also where none is left. weights: bytes of the model's."""
    recipe, task, progress = protocol.recipe, study.task, protocol.progress(study)
    if progress.no_winner:
        return
    images, card, method = costs.sizes(task), recipe.catalog.card(task), study.method
    steps = 0
    if method.epoch_passes:
        steps = recipe.training.all_steps(images.train, max(1, card.domains))
    training, sealed = costs.passes(method.name, task, recipe.training), images.sealed
    small = costs.prediction_bytes(task, images.val)
    whole = costs.prediction_bytes(task, images.val + sealed)
    kept = 0  # weights of a search cell
    if study.planned_jobs.get("soup") or recipe.oracle:
        kept = weights
    alphas, rules = len(recipe.alphas), len(SoupRule)
    curve_passes = (alphas - 2) * (images.val + sealed)  # predictions of both ends are on disk
    # kind -> method that it counts for; cells, passes, steps and bytes of a job
    of_a_job: Mapping[JobKind, tuple[str, int, float, int, float]] = {
        "search": (method.name, 1, training, steps, small + kept),
        "grid": (method.name, 1, training + sealed, steps, whole),
        "confirm": (method.name, 1, training + sealed, steps, whole + weights),
        "curve": ("wise_ft", alphas, curve_passes, 0, alphas * whole),
        "soup": ("soup", rules, recipe.trials * images.val + rules * sealed, 0, rules * (whole + weights)),
        "oracle": (method.name, 0, sealed, 0, whole - small),
    }
    settled = Counter(job.kind for job in progress.jobs if progress.is_settled(job))
    for kind, wanted in progress.planned_jobs.items():
        jobs = max(0, wanted - settled[kind])
        counted_for, cells, passes, steps, bytes_ = of_a_job[kind]
        yield PendingWork(kind, task, counted_for, jobs, jobs * cells, passes, steps, bytes_)
