"""The one protocol: search -> select on validation -> confirm -> unseal. Hands out the jobs of a sweep; no Ray.

What runs next is decided by ``StudyProgress``, from the records alone. So a sweep that was killed goes on from its
records, and its winners are those of an undisturbed run.

A sampler that learns from results is asked for a trial when a job can start. study.json has the trial before its job
starts, and a sweep that goes on takes the trials from there.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, product
from typing import NamedTuple

import numpy as np

from carft import NUMERICS
from carft.catalog.resolve import named_weights
from carft.config.cell import model_by_name, record_form
from carft.config.registry import SoupRule
from carft.core.errors import UserError
from carft.store.failures import read_failure
from carft.store.journal import StudyPlan
from carft.store.records import Store, all_metrics
from carft.store.study_file import Extension, StudyFile
from sweeps.faults.policy import FIRST_TRIALS, final_failures, policy_of
from sweeps.recipes.recipe import Recipe
from sweeps.search.study import KINDS, Job, JobKind, State, Study, StudyProgress, studies_of

#: as of ``Study.family``
StudyFamily = tuple[object, ...]
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


class Protocol:
    """Hands out the jobs of a recipe, one at a time, from what the records of a results folder say is missing.

    retry_failed: whether jobs that failed before, for a reason of their own, run again.
    """

    def __init__(self, recipe: Recipe, store: Store, retry_failed: bool = True) -> None:
        self.recipe, self.store = recipe, store
        self.failed_before = {} if retry_failed else final_failures(store)
        self.state = State()
        self.done: Mapping[str, Mapping[str, float]] = self.state.done
        """Cells that are done -> metrics."""
        self.failed: Mapping[str, str] = self.state.failed
        """Keys of jobs that failed -> reason."""
        self.reused: set[str] = set()
        """Cells that were done before this sweep."""
        self.damaged: dict[str, str] = {}
        """Keys of jobs with a damaged cell that was evaluated on held-out sets -> what is wrong and what to do."""
        self.remarks: dict[str, str] = {}
        """Damaged cell or study -> what is wrong and what the sweep does about it."""
        self.jobs: dict[str, Job] = {}
        """Cells that are done, and keys of jobs that failed -> the job."""
        self.running: dict[str, Job] = {}
        self.untrained_jobs: list[Job] = []
        for task, card in product(recipe.tasks, recipe.cards("untrained")):
            self.untrained_jobs.append(Job("confirm", recipe.cell(task, card.name, {})))
        self.studies = studies_of(recipe, recipe.cards("trained"))
        self._on_disk: dict[str, StudyFile | None] = {}
        """Id of a study -> its file; None where there is none, or one that cannot be read and will be written again."""
        self._numbers = {study.id: number for number, study in enumerate(self.studies)}
        self._progress: dict[str, StudyProgress] = {}
        self._families: dict[StudyFamily, list[Study]] = defaultdict(list)  # studies that share a winner
        self._searches: dict[tuple[object, ...], list[Study]] = defaultdict(list)  # by the question that they share
        self._open: dict[StudyFamily, set[str]] = defaultdict(set)  # keys of the trials that are not settled
        self._due: set[int] = set()  # numbers of the studies that are to be written now
        self._asking: set[int] = set()  # those whose sampler is asked for trials one by one
        self._moved: set[int] = set()  # those of which a job began or ended since they were written
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
        for family in self._families:
            self._observe(family)
        self._look_up()

    def _begin(self, study: Study) -> None:
        """Note what is on disk of a study, and its trials."""
        self._families[study.family].append(study)
        self._searches[study.question].append(study)
        on_disk = self._on_disk[study.id] = self._read_file(study)
        if not study.sampler.is_fixed:
            self._take_up(study, on_disk)
        pruned = {}
        if on_disk is not None:
            pruned = {trial.cell: trial.validated for trial in on_disk.pruned.values()}
        for job in study.search_jobs:
            if job.cell.id in pruned:
                study.pruned[job.cell.id] = pruned[job.cell.id]
                self._tell(study, job)
            else:
                self._open[study.family].add(job.key)

    def next_job(self) -> Job | None:
        """A job that can start now, or None when all that is left waits for running jobs, or nothing is left."""
        self._look_up()
        job = self._next()
        if job is not None:
            self._write(self._due & self._places[job.key].keys())  # a trial stands in its file before it runs
            self.running[job.key] = job
            self._moved |= self._places[job.key].keys()
        return job

    def finished(self) -> bool:
        """Whether nothing is running and nothing can start."""
        is_idle = not self.running and not self._unread and self._first_waiting() is None
        return is_idle and self._study_that_asks() is None

    def end(self, job: Job, failure: str | None = None) -> None:
        """Note how a job ended. Raises when its records cannot be read; the job then stays in ``running``."""
        if failure is None:
            self._note_result(job, {cell.id: self.store.metrics(cell.id) for cell in job.cells()})
        else:
            self._note_failure(job, failure)
        self._go_on(job)
        self._look_up()
        self.give_back(job)  # last, so that a call that raised can be repeated

    def stops(self, job: Job, values: Sequence[float]) -> bool:
        """Whether the pruners of all studies that have a running trial stop it. values: val/top1 after each epoch."""
        if job.kind != "search":
            return False
        answers = []
        for number in self._places[job.key]:
            answers.append(self.studies[number].stops(job, values))
        return all(answers)

    def prune(self, job: Job, values: Sequence[float]) -> None:
        """Note that a running trial was pruned. A call that raises can be repeated."""
        for number in self._places[job.key]:
            self.studies[number].pruned.setdefault(job.cell.id, list(values))
            self._due.add(number)
        self._go_on(job)
        self._look_up()
        self.give_back(job)

    @property
    def pruned(self) -> dict[str, str]:
        """Cells of pruned trials that have no record -> their task."""
        cells = {}
        for study in self.studies:
            for cell in study.pruned.keys() - self.done.keys():
                cells[cell] = study.task
        return cells

    def give_back(self, job: Job) -> None:
        """Note that a job does not run any more; if it is neither done nor failed, it is open again."""
        del self.running[job.key]
        self._moved |= self._places[job.key].keys()
        if not self.state.is_settled(job):
            for place in self._places[job.key].values():
                heapq.heappush(self._waiting, place)

    def _next(self) -> Job | None:
        """The first of the jobs that can run now, after samplers were asked where no search waits."""
        while True:
            job = self._first_waiting()
            if job is not None and self._waiting[0].rank <= RANKS["search"]:
                return job
            number = self._study_that_asks()
            if number is None:
                return job
            self._ask(number)

    def _study_that_asks(self) -> int | None:
        """Number of the study whose sampler is asked for the next trial: the one with the fewest open trials."""
        self._asking = {number for number in self._asking if self.progress(self.studies[number]).asks}
        return min(self._asking, key=lambda number: (self._open_trials(number), number), default=None)

    def _open_trials(self, number: int) -> int:
        return len(self._open[self.studies[number].family])

    def _take_up(self, study: Study, on_disk: StudyFile | None) -> None:
        """Go on with the trials of study.json, where a sampler is asked for trials one by one."""
        self._asking.add(self._numbers[study.id])
        if on_disk is not None:
            for trial in on_disk.trials[: study.n_trials]:
                study.add_trial(trial.parameters, trial.finished or 0)

    def _ask(self, number: int) -> None:
        """Ask the sampler of a study for one more trial. A call that raises can be repeated."""
        study = self.studies[number]
        with_result = self.state.done.keys() | study.pruned.keys()
        job = study.ask(sum(cell.id in with_result for cell in study.trial_cells))
        self._due.add(number)
        self._open[study.family].add(job.key)
        self._find(job, number)
        if self.progress(study).is_settled(job):  # an earlier trial has the same cell
            self._go_on(job)
        self._look_up()

    def _first_waiting(self) -> Job | None:
        """The first of the jobs that can run now and do not run."""
        while self._waiting:
            place = self._waiting[0]
            job = place.job
            if place.study < 0:
                is_wanted = not self.state.is_settled(job)
            else:
                progress = self.progress(self.studies[place.study])
                is_wanted = progress.wants(job.kind) and not progress.is_settled(job)
            if is_wanted and job.key not in self.running:
                return job
            heapq.heappop(self._waiting)
        return None

    def _find(self, job: Job, study: int) -> None:
        """Add a job to those whose records are looked for, once for each study. study: its number; -1 for none."""
        places = self._places[job.key]
        if study not in places:
            rank = -1 if study < 0 else RANKS[job.kind]
            places[study] = Place(rank, study, job.cell.seed, next(self._count), job)
            self._unread.append(places[study])

    def _look_up(self) -> None:
        """Look for the records of all jobs that were added, and of the jobs that follow from them.

        Jobs without records wait for their turn. A call that raises can be repeated.
        """
        while self._unread:
            place = self._unread[0]
            if place.job.key not in self.running and not self.state.is_settled(place.job):
                self._read(place.job)
            self._unread.popleft()
            if self.state.is_settled(place.job):
                self._go_on(place.job)
            else:
                heapq.heappush(self._waiting, place)

    def _tell(self, study: Study, job: Job) -> None:
        """Tell sampler and pruner of a study how a trial ended. The pruner compares others with each of its epochs."""
        cell, values = job.cell.id, study.pruned.get(job.cell.id, [])
        if self.recipe.pruner != "none" and not values and cell in self.state.done:
            values = validated_epochs(self.store, cell)
        study.tell(job, self.state.done.get(cell, {}).get("val/top1"), values)

    def _go_on(self, job: Job) -> None:
        """Add the jobs that follow from a job that is done, failed or pruned."""
        for number in self._places[job.key]:
            if number < 0:
                continue
            study = self.studies[number]
            if job.kind == "search":
                trials = self._open[study.family]
                trials.discard(job.key)
                if study.learns:
                    self._tell(study, job)
                is_code_error = job.key in self.state.code_errors and job in study.search_jobs[:FIRST_TRIALS]
                if is_code_error or (not trials and len(study.settings) == study.n_trials):
                    self._observe(study.family)
            elif job.kind == "confirm":
                for curve in self.progress(study).curves(job.cell):
                    self._find(curve, number)

    def _observe(self, family: StudyFamily) -> None:
        """Compute the progress of the studies of a family again, and add the jobs that can run now."""
        peers: list[StudyProgress] = []
        for study in self._families[family]:
            peers.append(StudyProgress(study, self.state, peers))
        for progress in peers:
            number = self._numbers[progress.study.id]
            self._progress[progress.study.id] = progress
            self._due.add(number)
            for job in progress.jobs:
                self._find(job, number)

    def _read(self, job: Job) -> None:
        """Note what is on disk of a job: its records, or else that it failed before."""
        found: dict[str, Mapping[str, float]] = {}
        for cell in job.cells():
            metrics = self._recorded(job, cell.id)
            if metrics is None:
                failure = self.damaged.get(job.key) or self.failed_before.get(job.key)
                if failure:
                    self._note_failure(job, failure)
                return
            found[cell.id] = metrics
        self._note_result(job, found)
        if job.kind != "oracle":
            self.reused.update(found)

    def _recorded(self, job: Job, cell: str) -> Mapping[str, float] | None:
        """Metrics of a cell that has a record of this code and, unless it is sealed, the evaluations of its task."""
        if not self.store.is_done(cell):
            return None
        try:
            record, evaluations = self.store.read_whole(cell)
        except UserError as error:
            self._note_damage(job, cell, error)
            return None
        if record.numerics != NUMERICS:
            return None
        if self.store.weights_path(cell).is_file() and not self.store.has_weights(cell):
            self.remarks[cell] = f"The weights of cell {cell} are damaged; it trains again where they are needed."
        is_sealed = job.kind == "search"
        if not is_sealed and not evaluations.keys() >= set(self.store.catalog.card(job.cell.task).sets):
            return None
        return all_metrics(record, evaluations)

    def _note_damage(self, job: Job, cell: str, damage: UserError) -> None:
        """Note that a finished cell is damaged. One that was evaluated on held-out sets counts as failed."""
        try:
            self.store.require_sealed(cell, damage)
            self.remarks[cell] = f"{damage.message} The cell is made again."
        except UserError as refusal:
            if refusal is damage:
                raise
            self.damaged[job.key] = str(refusal)

    def _note_result(self, job: Job, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Note that a job is done. metrics: cell -> its metrics."""
        if job.kind == "oracle":
            self.state.opened.add(job.cell.id)
            return
        self.jobs.update(dict.fromkeys(metrics, job))  # first: another thread looks them up
        self.state.done.update(metrics)

    def _note_failure(self, job: Job, reason: str) -> None:
        self.jobs[job.key] = job
        self.state.failed[job.key] = reason
        try:
            failure = read_failure(self.store, job.cell.id)
        except UserError:  # a corrupt record of a failure tells nothing
            return
        if failure is None:
            return
        if job.kind == "search" and policy_of(failure.kind).ends_study:
            self.state.code_errors[job.key] = failure.reason

    def progress(self, study: Study) -> StudyProgress:
        """What follows for a study from what is known."""
        return self._progress[study.id]

    def planned(self) -> Counter[JobKind]:
        """Kind of job -> cells of the whole sweep that it computes; those of ``oracle`` are the searched ones."""
        cells: Counter[JobKind] = Counter({"confirm": len(self.untrained_jobs)})
        for study in self.studies:
            for kind, jobs in self.progress(study).planned_jobs.items():
                cells[kind] += jobs * self.cells_of(kind)
        del cells["oracle"]
        return cells

    def total(self) -> int:
        """Number of cells of the whole sweep."""
        return self.planned().total()

    def cells_of(self, key: str) -> int:
        """Number of cells of a job by its kind or its key."""
        kind = key.partition("-")[0]
        if kind == "curve":
            return len(self.recipe.alphas)
        if kind == "soup":
            return len(SoupRule)
        return 1

    def write_studies(self, at_once: bool = True) -> None:
        """Write study.json of every study that changed since the last call.

        at_once: also of those of which only jobs began or ended. A file that is older than the records is made anew
        from them by the next sweep.
        """
        if at_once:
            self._due |= self._moved - {-1}
        self._write(self._due)

    def _write(self, studies: Iterable[int]) -> None:
        """Write study.json of studies, by their numbers. A call that raises can be repeated."""
        for number in sorted(studies):
            self._write_study(self.studies[number])
            self._due.discard(number)  # not before it is written
            self._moved.discard(number)

    def _write_study(self, study: Study) -> None:
        on_disk = self._on_disk[study.id]
        content = self.progress(study).file(self.running, self._is_oracle(study))
        is_open = not content.confirm and not content.too_few
        if on_disk is not None and is_open and study.learns:
            # the winner of fewer trials stands until the added ones have ended
            content = content.model_copy(update={"winner": on_disk.winner, "confirm": on_disk.confirm})
        content = with_extension(on_disk, content, self.store, self._earlier(study))
        # a smaller request never shrinks a study
        shrinks = on_disk is not None and (
            len(on_disk.trials) > len(content.trials) or len(on_disk.confirm) > len(content.confirm)
        )
        if content == on_disk or shrinks:
            return
        self.store.replace_study(study.id, on_disk, content)
        self._on_disk[study.id] = content

    def _earlier(self, study: Study) -> list[list[str]]:
        """The confirm cells of the earlier searches of the same task, method and reading, as they are on disk."""
        earlier = []
        for other in self._searches[study.question]:
            on_disk = self._on_disk[other.id]
            if other.search < study.search and on_disk is not None:
                earlier.append(on_disk.confirm)
        return earlier

    def _is_oracle(self, study: Study) -> bool:
        """Whether search cells of a study are, or were, opened for oracle selection."""
        on_disk = self._on_disk[study.id]
        return self.recipe.oracle or (on_disk is not None and on_disk.oracle)

    def _require_no_mixed_request(self, study: Study) -> None:
        """Raise ``UserError`` for more trials and fewer seeds than a study has, or the reverse.

        A study never shrinks, so its file could not name the cells that such a sweep selects.
        """
        on_disk = self._on_disk[study.id]
        if on_disk is None or not on_disk.confirm or not on_disk.trials:
            return
        asked, has = (study.n_trials, self.recipe.seeds), (len(on_disk.trials), len(on_disk.confirm))
        most = (max(asked[0], has[0]), max(asked[1], has[1]))
        if most not in (asked, has):
            raise UserError(
                f"{study.method.name} on {study.task} has run here with --trials {has[0]} --seeds {has[1]}; "
                f"--trials {asked[0]} --seeds {asked[1]} asks for more of one and fewer of the other.",
                f"Ask for --trials {most[0]} --seeds {most[1]}, or use another --results.",
            )

    def commit(self, claims: Mapping[str, float]) -> None:
        """Write to the journal what the sweep will do, before its first job.

        claims: Claim -> margin in points. Raises ``UserError`` for more trials and fewer seeds than a study has, or the
        reverse.
        """
        recipe = self.recipe
        studies = []
        for study in self.studies:
            self._require_no_mixed_request(study)
            planned = StudyPlan(
                study=study.id,
                task=study.task,
                method=study.method.name,
                search=study.search,
                trials=study.n_trials,
                seeds=recipe.confirm_seeds(study.search),
                oracle=self._is_oracle(study),
                reading=dict(study.choice.factors),
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

    def _read_file(self, study: Study) -> StudyFile | None:
        """The study on disk; None when there is none, or one that cannot be read and will be written again.

        Raises ``UserError`` where the file alone had what happened: what was pruned or asked for, and how a search with
        a winner grew.
        """
        try:
            return self.store.study(study.id)
        except UserError as damage:
            had_winner = any(line.study == study.id for line in self.store.journal().of("selected"))
            if study.learns or had_winner:
                raise UserError(
                    f"{damage.message} How its search went stands in no other file.",
                    "Put a copy of the file back, or remove it: the search then begins anew from its records.",
                ) from damage
            self.remarks[study.id] = f"{damage.message} It is written again from the records."
            return None


def validated_epochs(store: Store, cell: str) -> list[float]:
    """val/top1 of a finished cell after each epoch."""
    column = store.history(cell).get("val/top1", np.empty(0))
    return column[~np.isnan(column)].tolist()


def with_extension(
    on_disk: StudyFile | None, content: StudyFile, store: Store, earlier: Sequence[Sequence[str]]
) -> StudyFile:
    """The study with ``extended_from``: its size when its test metrics were first seen.

    Four kinds of studies get it: one whose trials or confirm cells grew after that moment; one whose winner changed,
    also because a lost trial was run again; a further search that begins after test metrics of an earlier one were
    seen; and a study without its file that gets seeds beside those that were tested.

    on_disk: the study as it is on disk, None when it is not there; content: as it is now. earlier: the confirm cells of
    the earlier searches of the same task, method and reading, as they are on disk.
    """

    def tested(confirm: Sequence[str]) -> int:
        return sum(bool(store.evaluated(cell)) for cell in confirm)

    if on_disk is None:
        begins = all(trial.status != "done" for trial in content.trials)
        if begins and any(map(tested, earlier)):
            extension = Extension(searches=len(earlier))
        elif 0 < tested(content.confirm) < len(content.confirm):
            extension = Extension(trials=len(content.trials), confirm=tested(content.confirm))
        else:
            return content
        return content.model_copy(update={"extended_from": extension})

    content = content.model_copy(update={"grid": [*dict.fromkeys((*on_disk.grid, *content.grid))]})
    if on_disk.extended_from is not None:
        return content.model_copy(update={"extended_from": on_disk.extended_from})
    grew = len(content.trials) > len(on_disk.trials) or len(content.confirm) > len(on_disk.confirm)
    changed = on_disk.winner not in (None, content.winner)
    if (grew or changed) and tested(on_disk.confirm):
        extension = Extension(trials=len(on_disk.trials), confirm=len(on_disk.confirm))
        return content.model_copy(update={"extended_from": extension})
    return content
