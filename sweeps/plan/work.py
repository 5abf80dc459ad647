"""The work that is left of a sweep: its jobs by kind, task and method, and how long they take side by side."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from carft.config.registry import SoupRule
from carft.models.availability import ModelSize
from sweeps.plan.rates import Costs
from sweeps.search.protocol import JobKind, Protocol
from sweeps.search.study import Study

#: kind of job -> its turn: confirm cells of a study follow its search; curves, soups and oracle cells follow these
STAGES: Mapping[JobKind, int] = {"search": 0, "grid": 0, "confirm": 1, "curve": 2, "soup": 2, "oracle": 2}


@dataclass(frozen=True)
class PendingWork:
    """Jobs of one kind, task and method that still have to run. Passes, steps and bytes on disk are those of one."""

    study: str
    """Id of the study, or of the first one that shares its setting; of an untrained method the key of its job."""
    kind: JobKind
    task: str
    method: str
    jobs: int
    cells: int
    """Cells of all these jobs."""
    passes: float
    steps: int
    bytes: float
    seen: float = 0
    """Images that training sees."""

    @property
    def trains(self) -> bool:
        """Whether a job trains in epochs. Others only predict, or fit on features."""
        return self.steps > 0


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
        stages = waiting[study]
        if not stages:
            return
        stage = min(stages)
        lengths = stages.pop(stage)
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
        if protocol.state.is_settled(job):
            continue
        task, method = job.cell.task, job.cell.method
        images = costs.sizes(task)
        opened = images.val + images.sealed
        stored = costs.prediction_bytes(task, opened)
        pending.append(PendingWork(job.key, "confirm", task, method, 1, 1, opened, 0, stored))
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
    steps, seen, domains = 0, 0.0, max(1, card.domains)
    if method.epoch_passes:
        steps = recipe.training.all_steps(images.train, domains)
        seen = recipe.training.images_seen(images.train, domains)
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
    first = progress.peers[0].study.id
    settled = Counter(job.kind for job in progress.jobs if progress.is_settled(job))
    for kind, wanted in study.planned_jobs.items():
        jobs = max(0, wanted - settled[kind])
        counted_for, cells, passes, steps, bytes_ = of_a_job[kind]
        shown = 0.0
        if steps:
            shown = seen
        yield PendingWork(first, kind, task, counted_for, jobs, jobs * cells, passes, steps, bytes_, shown)
