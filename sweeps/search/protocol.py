"""The one protocol: search -> select on validation -> confirm -> unseal. Hands out the jobs of a sweep; no Ray.

What runs next is decided by ``StudyProgress``, from the records alone. So a sweep that was killed goes on from its
records, and its winners are those of an undisturbed run.

A sampler that learns from results is asked for a trial when a job can start. study.json has the trial before its job
starts, and a sweep that goes on takes the trials from there.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, product
from typing import NamedTuple

from carft.catalog.resolve import named_weights
from carft.config.cell import model_by_name, record_form
from carft.config.registry import SoupRule
from carft.store.journal import StudyPlan
from carft.store.records import Store
from sweeps.faults.policy import FIRST_TRIALS
from sweeps.recipes.recipe import Recipe
from sweeps.search.jobs import KINDS, Job
from sweeps.search.progress import StudyProgress
from sweeps.search.records import Recorded, validated_epochs
from sweeps.search.study import Study, studies_of
from sweeps.search.study_files import StudyFiles

#: rank of the kinds of jobs
RANKS = {kind: rank for rank, kind in enumerate(KINDS)}


class Place(NamedTuple):
    """The place of a job in the order in which jobs run: first those without a study, then the searches of all studies,
    and so on. So no core is idle at the end of a sweep."""

    rank: int
    """That of its kind; -1 for a job without a study."""
    study: int
    """Number of the study in ``Protocol.studies``; -1 for none."""
    seed: int
    number: int
    """Counts the places, so that no two are alike."""
    job: Job


class Family:
    """The studies that share a winner: those of several tasks, or one alone."""

    def __init__(self) -> None:
        self.studies: list[Study] = []
        self.open: set[str] = set()
        """Keys of the trials that are not settled."""


class Protocol:
    """Hands out the jobs of a recipe, one at a time, from what the records of a results folder say is missing.

    retry_failed: whether jobs that failed before, for a reason of their own, run again. Calls that read or write may be
    repeated after they raised.
    """

    def __init__(self, recipe: Recipe, store: Store, retry_failed: bool = True) -> None:
        self.recipe, self.store = recipe, store
        self.recorded = Recorded(store, retry_failed)
        self.state = self.recorded.state
        self.remarks = self.recorded.remarks
        """Damaged cell or study -> what is wrong and what the sweep does about it."""
        self.jobs, self.reused = self.recorded.jobs, self.recorded.reused
        self.done, self.failed = self.state.done, self.state.failed
        self.running: dict[str, Job] = {}
        self.files = StudyFiles(recipe, store, self.remarks)
        self.untrained_jobs: list[Job] = []
        for task, card in product(recipe.tasks, recipe.cards("untrained")):
            self.untrained_jobs.append(Job("confirm", recipe.cell(task, card.name, {})))
        self.studies = studies_of(recipe, recipe.cards("trained"))
        self._numbers = {study.id: number for number, study in enumerate(self.studies)}
        self._progress: dict[str, StudyProgress] = {}
        self._families: dict[tuple[object, ...], Family] = defaultdict(Family)  # by ``Study.family``
        self._due: set[int] = set()  # numbers of the studies that are to be written before the next job starts
        self._asking: list[Study] = []  # those whose sampler is asked for trials one by one
        self._places: dict[str, dict[int, Place]] = defaultdict(dict)
        """Key of a job -> number of a study that it belongs to -> its place."""
        self._count = count()
        self._unread: deque[Place] = deque()  # of jobs whose records were not looked for yet
        self._waiting: list[Place] = []  # a heap; it may hold jobs that run, have ended or are no longer wanted
        for study in self.studies:
            self._begin(study)
        for job in self.untrained_jobs:
            self._find(job, -1)
        self._look_up()
        for family in self._families.values():
            self._observe(family)
        self._look_up()

    def _begin(self, study: Study) -> None:
        """Take up what is on disk of a study: trials that a sampler was asked for one by one, and pruned ones."""
        family, on_disk = self._families[study.family], self.files.read(study)
        family.studies.append(study)
        known = [] if on_disk is None else on_disk.trials
        if not study.sampler.is_fixed:
            self._asking.append(study)
            for trial in known[: study.n_trials]:
                study.trials.add(trial.parameters, trial.finished or 0)
        pruned = {trial.cell: trial.validated for trial in known if trial.status == "pruned"}
        for job in study.trials.jobs:
            if job.cell.id in pruned:
                study.trials.pruned[job.cell.id] = pruned[job.cell.id]
                self._tell(study, job)
            else:
                family.open.add(job.key)

    def progress(self, study: Study) -> StudyProgress:
        """What follows for a study from what is known."""
        return self._progress[study.id]

    def next_job(self) -> Job | None:
        """A job that can start now, or None when all that is left waits for running jobs, or nothing is left."""
        self._look_up()
        job = self._next()
        if job is not None:
            self._write(self._due & self._places[job.key].keys())  # a trial stands in its file before it runs
            self.running[job.key] = job
        return job

    def finished(self) -> bool:
        """Whether nothing is running and nothing can start."""
        is_idle = not self.running and not self._unread and self._first_waiting() is None
        return is_idle and self._study_that_asks() is None

    def end(self, job: Job, failure: str | None = None) -> None:
        """Note how a job ended. Raises when its records cannot be read; the job then stays in ``running``."""
        if failure is None:
            self.recorded.note_result(job)
        else:
            self.recorded.note_failure(job, failure)
        self._go_on(job)
        self._look_up()
        self.give_back(job)  # last, so that a call that raised can be repeated

    def stops(self, job: Job, values: Sequence[float]) -> bool:
        """Whether the pruners of all studies that have a running trial stop it. values: val/top1 after each epoch."""
        if job.kind != "search":
            return False
        answers = [self.studies[number].trials.stops(job, values) for number in self._places[job.key]]
        return all(answers)

    def prune(self, job: Job, values: Sequence[float]) -> None:
        """Note that a running trial was pruned."""
        for number in self._places[job.key]:
            self.studies[number].trials.pruned.setdefault(job.cell.id, list(values))
            self._due.add(number)
        self._go_on(job)
        self._look_up()
        self.give_back(job)

    def give_back(self, job: Job) -> None:
        """Note that a job does not run any more; if it is neither done nor failed, it is open again."""
        del self.running[job.key]
        if not self.state.is_settled(job):
            for place in self._places[job.key].values():
                heapq.heappush(self._waiting, place)

    @property
    def pruned(self) -> dict[str, str]:
        """Cells of pruned trials that have no record -> their task."""
        cells = {}
        for study in self.studies:
            for cell in study.trials.pruned.keys() - self.done.keys():
                cells[cell] = study.task
        return cells

    def _next(self) -> Job | None:
        """The first of the jobs that can run now, after samplers were asked where no search waits."""
        while True:
            job = self._first_waiting()
            if job is not None and self._waiting[0].rank <= RANKS["search"]:
                return job
            study = self._study_that_asks()
            if study is None:
                return job
            self._ask(study)

    def _first_waiting(self) -> Job | None:
        """The first of the jobs that can run now and do not run."""
        while self._waiting:
            place = self._waiting[0]
            if self._is_wanted(place) and place.job.key not in self.running:
                return place.job
            heapq.heappop(self._waiting)
        return None

    def _is_wanted(self, place: Place) -> bool:
        if place.study < 0:
            return not self.state.is_settled(place.job)
        return self.progress(self.studies[place.study]).wants(place.job)

    def _study_that_asks(self) -> Study | None:
        """The study whose sampler is asked for the next trial: the first of those with the fewest open trials."""
        self._asking = [study for study in self._asking if self.progress(study).asks]
        return min(self._asking, key=lambda study: len(self._families[study.family].open), default=None)

    def _ask(self, study: Study) -> None:
        """Ask the sampler of a study for one more trial."""
        with_result, number = self.state.done.keys() | study.trials.pruned.keys(), self._numbers[study.id]
        job = study.trials.ask(sum(cell.id in with_result for cell in study.trial_cells))
        self._due.add(number)
        self._families[study.family].open.add(job.key)
        self._find(job, number)
        if self.progress(study).is_settled(job):  # an earlier trial has the same cell
            self._go_on(job)
        self._look_up()

    def _find(self, job: Job, study: int) -> None:
        """Add a job to those whose records are looked for, once for each study. study: its number; -1 for none."""
        places = self._places[job.key]
        if study not in places:
            rank = -1 if study < 0 else RANKS[job.kind]
            places[study] = Place(rank, study, job.cell.seed, next(self._count), job)
            self._unread.append(places[study])

    def _look_up(self) -> None:
        """Look for the records of all jobs that were added, and of the jobs that follow from them.

        Jobs without records wait for their turn.
        """
        while self._unread:
            place = self._unread[0]
            if place.job.key not in self.running and not self.state.is_settled(place.job):
                self.recorded.read(place.job)
            self._unread.popleft()
            if self.state.is_settled(place.job):
                self._go_on(place.job)
            else:
                heapq.heappush(self._waiting, place)

    def _go_on(self, job: Job) -> None:
        """Add the jobs that follow from a job that is done, failed or pruned."""
        for number in self._places[job.key]:
            if number < 0:
                continue
            study = self.studies[number]
            if job.kind == "search":
                self._end_trial(study, job)
            elif job.kind == "confirm":
                for curve in self.progress(study).curves(job.cell):
                    self._find(curve, number)

    def _end_trial(self, study: Study, job: Job) -> None:
        family = self._families[study.family]
        family.open.discard(job.key)
        if study.learns:
            self._tell(study, job)
        is_code_error = job.key in self.state.code_errors and job in study.trials.jobs[:FIRST_TRIALS]
        if is_code_error or (not family.open and len(study.trials.jobs) == study.n_trials):
            self._observe(family)

    def _tell(self, study: Study, job: Job) -> None:
        """Tell sampler and pruner of a study how a trial ended. The pruner compares others with each of its epochs."""
        cell, values = job.cell.id, study.trials.pruned.get(job.cell.id, [])
        if self.recipe.pruner != "none" and not values and cell in self.state.done:
            values = validated_epochs(self.store, cell)
        study.trials.tell(job, self.state.done.get(cell, {}).get("val/top1"), values)

    def _observe(self, family: Family) -> None:
        """Compute the progress of the studies of a family again, and add the jobs that can run now."""
        peers: list[StudyProgress] = []
        for study in family.studies:
            peers.append(StudyProgress(study, self.state, peers))
        for progress in peers:
            number = self._numbers[progress.study.id]
            self._progress[progress.study.id] = progress
            self._due.add(number)
            for job in progress.jobs:
                self._find(job, number)

    def total(self) -> int:
        """Number of cells of the whole sweep; those of ``oracle`` are the searched ones."""
        cells = len(self.untrained_jobs)
        for study in self.studies:
            for kind, jobs in self.progress(study).planned_jobs.items():
                if kind != "oracle":
                    cells += jobs * self.cells_of(kind)
        return cells

    def cells_of(self, key: str) -> int:
        """Number of cells of a job by its kind or its key."""
        kind = key.partition("-")[0]
        if kind == "curve":
            return len(self.recipe.alphas)
        if kind == "soup":
            return len(SoupRule)
        return 1

    def write_studies(self, at_once: bool = True) -> None:
        """Write study.json of every study that changed.

        at_once: also of those of which only jobs began or ended. A file that is older than the records is made anew
        from them by the next sweep.
        """
        self._write(range(len(self.studies)) if at_once else self._due)

    def _write(self, studies: Iterable[int]) -> None:
        """Write study.json of studies, by their numbers."""
        for number in sorted(studies):
            self.files.write(self.progress(self.studies[number]), self.running)
            self._due.discard(number)  # not before it is written

    def commit(self, claims: Mapping[str, float]) -> None:
        """Write to the journal what the sweep will do, before its first job.

        claims: Claim -> margin as a share of 1. Raises ``UserError`` for more trials and fewer seeds than a study has,
        or the reverse.
        """
        recipe = self.recipe
        studies = []
        for study in self.studies:
            self.files.require_no_mixed_request(study)
            planned = StudyPlan(
                study=study.id,
                task=study.task,
                method=study.method.name,
                search=study.search,
                trials=study.n_trials,
                seeds=recipe.confirm_seeds(study.search),
                oracle=self.files.is_oracle(study),
                reading=study.reading,
            )
            studies.append(planned.content())
        asked = recipe.model_dump(mode="json", exclude={"smoke", "question", "expect", "without_data"})
        # weights are named as in records, without their path: an archive holds this line
        if recipe.model:
            asked["model"] = model_by_name(recipe.model)
        if recipe.pretrained:
            _, asked["pretrained"] = record_form("", named_weights(recipe.pretrained))
        suites = list(self.store.catalog.suites)
        self.store.note("planned", recipe=asked, studies=studies, claims=dict(claims), suites=suites)
