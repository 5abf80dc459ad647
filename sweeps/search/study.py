"""A study, one search for one (task, method, reading): its jobs, its winner and study.json. No Ray, no disk.

``StudyProgress`` is a pure function of a study and a ``State``, which ``sweeps.search.protocol`` makes from records. So
neither kills, nor the order in which jobs end, nor the number of workers change what is run, if the sampler fixes all
trials in advance. What another sampler proposes depends on what has ended; study.json keeps it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from carft.catalog.resolve import interpolation, soup_of
from carft.config.cell import Cell, record_form
from carft.config.registry import WISE_ALPHAS, MethodCard, Range, SoupRule
from carft.config.settings import ProtocolSettings
from carft.core.errors import UserError
from carft.protocol.identity import identity, study_id
from carft.protocol.seeds import search_seed_of
from carft.protocol.selection import Candidate, averaged, best, min_finished_trials
from carft.store.study_file import StudyFile, Trial, TrialStatus
from sweeps.faults.policy import FIRST_TRIALS
from sweeps.recipes.choices import TEMPERATURES, Choice
from sweeps.recipes.recipe import Recipe
from sweeps.recipes.samplers import Sampler

if TYPE_CHECKING:
    from sweeps.search.optuna_study import OptunaStudy

#: kinds of jobs, in the order in which they run: those of all studies before the next kind
JobKind = Literal["search", "grid", "confirm", "curve", "soup", "oracle"]
KINDS: tuple[JobKind, ...] = ("search", "grid", "confirm", "curve", "soup", "oracle")
#: jobs of a sweep at most: the journal of a results folder holds the lines of about so many
MOST_JOBS = 140_000


@dataclass(frozen=True)
class Job:
    """A unit of work for one actor: a cell, the WiSE-FT curve of a finished confirm cell, or the soups of a study.

    A ``grid`` cell has a fixed setting and belongs to no search.
    All but search cells are unsealed; ``oracle`` unseals a search cell, after its study has a winner. What is
    unsealed keeps its weights.
    """

    kind: JobKind
    cell: Cell  # of a curve the parent, of soups the uniform one
    keep_weights: bool = field(default=False, compare=False)  # of a search cell that is needed again: soups, oracle
    alphas: Sequence[float] = field(default=WISE_ALPHAS, compare=False)  # of a curve

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.cell.id}"

    @property
    def trains(self) -> bool:
        """Whether a training is part of the job."""
        return self.kind in ("search", "grid", "confirm") and bool(self.cell.hyperparameters)

    def cells(self) -> list[Cell]:
        """The cells this job finishes."""
        return self._cells

    @cached_property
    def _cells(self) -> list[Cell]:
        if self.kind == "curve":
            return [interpolation(self.cell, alpha) for alpha in self.alphas]
        if self.kind == "soup":
            return [replace(self.cell, hyperparameters={"greedy": rule.value}) for rule in SoupRule]
        return [self.cell]


@dataclass(frozen=True)
class Study:
    """One search for one (task, method, reading): trials, then a winner, then confirm cells.

    search: which of the recipe's independent searches, counted from 1. selected_over: the tasks that share the winning
    setting, itself included; empty where it has a winner of its own.
    """

    task: str
    method: MethodCard
    recipe: Recipe
    choice: Choice = field(default_factory=Choice)
    search: int = 1
    selected_over: tuple[str, ...] = ()

    @cached_property
    def space(self) -> Mapping[str, Range]:
        """What a trial may try."""
        space = self.recipe.space_of(self.method)
        if self.choice.searches_temperature:
            space["context_temperature"] = TEMPERATURES
        return space

    @property
    def first_guesses(self) -> dict[str, float]:
        """What the first trial tries."""
        return {name: limits.first_guess for name, limits in self.space.items()}

    @cached_property
    def content(self) -> dict[str, Any]:
        """What study.json says of everything that decides which trial tries what."""
        recipe = self.recipe
        plain = self.cell(self.first_guesses, seed=0)
        model, pretrained = record_form(plain.model, plain.pretrained)
        space: dict[str, list[float]] = {}
        if not recipe.grid:
            for name, limits in self.space.items():
                space[name] = [limits.low, limits.high, limits.first_guess]
        training = {**recipe.training.as_dict(), **self.method.own_training}
        if self.choice.crop is not None:
            training["crop"] = self.choice.crop
        content: dict[str, Any] = {
            "task": self.task,
            "data_version": recipe.catalog.card(self.task).version,
            "model": model,
            "pretrained": pretrained,
            "method": self.method.name,
            "space": space,
            "sampler": str(self.sampler),
            "search_seed": self.search_seed,
            "training": training,
        }
        # what follows is left out at its default, so that it changes no id of earlier versions
        if plain.plugin:
            content["plugin"] = plain.plugin
        if self.search > 1:
            content["search"] = self.search
        if self.selected_over:
            content["selected_over"] = list(self.selected_over)
        if self.choice.factors:
            content["reading"] = dict(self.choice.factors)
        for name, default in ProtocolSettings().protocol().items():
            chosen = getattr(recipe, name)
            if chosen != default:
                content[name] = chosen
        if recipe.pruner != "none":
            content["pruner"] = recipe.pruner
        return content

    @property
    def search_seed(self) -> int:
        """The seed of its search cells."""
        return search_seed_of(self.recipe.search_seed, self.search)

    @cached_property
    def id(self) -> str:
        return study_id(identity(self.content))

    @cached_property
    def grid_cells(self) -> list[Cell]:
        """Its cells of a recipe with a grid; a hyperparameter without values there has its first guess."""
        if not self.recipe.grid:
            return []
        values = [self.recipe.grid.get(name, [guess]) for name, guess in self.first_guesses.items()]
        cells = []
        for seed in self.recipe.confirm_seeds():
            for combination in product(*values):
                setting = dict(zip(self.space, combination, strict=True))
                cells.append(self.cell(setting, seed))
        return cells

    @cached_property
    def _cells(self) -> dict[tuple[frozenset, int], Cell]:
        return {}

    def cell(self, hyperparameters: Mapping[str, float], seed: int) -> Cell:
        """A cell of this study; the same object each time, since the protocol asks often and an id is a hash."""
        key = (frozenset(hyperparameters.items()), seed)
        if key not in self._cells:
            values, reading, training = dict(hyperparameters), self.choice.reading, self.recipe.training
            if self.choice.searches_temperature:
                reading = replace(reading, context_temperature=values.pop("context_temperature"))
            if self.choice.crop is not None:
                training = replace(training, crop=self.choice.crop)
            self._cells[key] = self.recipe.cell(self.task, self.method.name, values, seed, training, reading)
        return self._cells[key]

    @cached_property
    def sampler(self) -> Sampler:
        """What proposes its trials."""
        return self.recipe.search_sampler

    @cached_property
    def _asked(self) -> OptunaStudy:
        """The search as a study of Optuna, which has a trial for each of :attr:`settings`."""
        from sweeps.search.optuna_study import OptunaStudy  # Optuna takes longer to import than many commands run

        return OptunaStudy(self.space, self.sampler, self.search_seed, self.recipe.pruner)

    @property
    def n_trials(self) -> int:
        """Number of its trials, also of those that are not asked for yet; 0 with a grid."""
        return 0 if self.recipe.grid else self.recipe.trials

    @cached_property
    def settings(self) -> list[dict[str, float]]:
        """What each trial tries; none with a grid. All are here from the start if the sampler fixes them in advance.

        Otherwise :meth:`ask` and :meth:`add_trial` append to the list.
        """
        if not self.sampler.is_fixed:
            return []
        return [self._asked.ask() for _ in range(self.n_trials)]

    @cached_property
    def finished_when_asked(self) -> list[int]:
        """Number of trials that had finished when each was asked for; none if the sampler fixes them in advance."""
        return []

    @cached_property
    def pruned(self) -> dict[str, list[float]]:
        """Cell of a trial that was pruned -> val/top1 after each of its epochs."""
        return {}

    @property
    def learns(self) -> bool:
        """Whether its sampler or its pruner uses results."""
        return not self.sampler.is_fixed or self.recipe.pruner != "none"

    @cached_property
    def search_jobs(self) -> list[Job]:
        """The jobs of its trials, by number. All can run at once."""
        return [self._search_job(setting) for setting in self.settings]

    @property
    def trial_cells(self) -> list[Cell]:
        """The cells of its trials, by number."""
        return [job.cell for job in self.search_jobs]

    def _search_job(self, setting: Mapping[str, float]) -> Job:
        return Job("search", self.cell(setting, self.search_seed), self.is_souped or self.recipe.oracle)

    def ask(self, finished: int) -> Job:
        """Ask the sampler for one more trial; returns its job. finished: number of trials that have finished."""
        return self._append(self._asked.ask(), finished)

    def add_trial(self, setting: Mapping[str, float], finished: int) -> Job:
        """Add a trial that an earlier process asked for; returns its job."""
        self._asked.add(setting)
        return self._append(dict(setting), finished)

    def _append(self, setting: dict[str, float], finished: int) -> Job:
        job = self._search_job(setting)
        self.search_jobs.append(job)  # before the list that it is made from at first
        self.settings.append(setting)
        self.finished_when_asked.append(finished)
        return job

    def stops(self, job: Job, values: Sequence[float]) -> bool:
        """Tell the pruner val/top1 after each epoch of a job so far; return whether it stops all trials of the job."""
        answers = [self._asked.stops(trial, values) for trial in self._trials_of(job)]
        return all(answers)

    def tell(self, job: Job, value: float | None, values: Sequence[float] = ()) -> None:
        """Tell sampler and pruner how a job ended. value: val/top1; None where it failed or was pruned.

        values: val/top1 after each epoch.
        """
        for trial in self._trials_of(job):
            self._asked.stops(trial, values)
            self._asked.tell(trial, value, job.cell.id in self.pruned)

    def _trials_of(self, job: Job) -> list[int]:
        return [number for number, own in enumerate(self.search_jobs) if own.cell.id == job.cell.id]

    @cached_property
    def planned_jobs(self) -> Mapping[JobKind, int]:
        """Kind -> jobs of it that the study has if no trial fails."""
        recipe = self.recipe
        if recipe.grid:
            return {"grid": len(self.grid_cells)}
        planned: dict[JobKind, int] = {"search": recipe.trials, "confirm": recipe.seeds}
        if "wise_ft" in recipe.methods:
            planned["curve"] = recipe.seeds
        if self.is_souped and recipe.trials > 1:
            planned["soup"] = 1
        if recipe.oracle:
            planned["oracle"] = recipe.trials
        return planned

    @property
    def is_souped(self) -> bool:
        """Whether soups are made of its search cells."""
        return "soup" in self.recipe.methods and self.method.in_soups

    @property
    def question(self) -> tuple[object, ...]:
        """What the searches of a recipe for one task, method and reading have in common."""
        return (self.task, self.method.name, tuple(self.choice.factors.items()))

    @property
    def family(self) -> tuple[object, ...]:
        """What the studies with the same winning setting have in common: those of other tasks, or this one alone."""
        if not self.selected_over:
            return (self.id,)
        _, *asked = self.question
        return (*asked, self.search, self.selected_over)


def studies_of(recipe: Recipe, methods: list[MethodCard]) -> list[Study]:
    """The studies of a recipe, each once, one search after the other.

    A method has one study a search for all readings that differ in nothing it reads. Raises ``UserError`` for too many
    jobs.
    """
    families: dict[str, tuple[str, ...]] = {}
    if recipe.selection == "shared" and not recipe.grid:
        families = _families(recipe)
    studies: dict[str, Study] = {}
    for search in range(1, 1 + recipe.searches):
        for task, choice, method in product(recipe.tasks, recipe.choices(), methods):
            study = Study(task, method, recipe, choice.restricted(method.reads), search, families.get(task, ()))
            studies.setdefault(study.id, study)
        if search == 1:
            _require_few_jobs(recipe, studies.values())
    return list(studies.values())


def _require_few_jobs(recipe: Recipe, first: Iterable[Study]) -> None:
    """Raise ``UserError`` for more than :data:`MOST_JOBS` jobs. first: the studies of the first search."""
    jobs = recipe.searches * sum(sum(study.planned_jobs.values()) for study in first)
    if jobs > MOST_JOBS:
        raise UserError(
            f"{recipe.name} asks for {jobs:,} jobs, and a results folder takes at most {MOST_JOBS:,}.",
            "Ask for fewer --trials, --seeds or --searches, or for some of the --tasks and --methods.",
        )


def _families(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Task -> the tasks of the recipe that reports pool with it, sorted; a task alone is left out."""
    catalog = recipe.catalog
    pools = catalog.pools(recipe.tasks)
    by_pool: dict[str, list[str]] = defaultdict(list)
    for task in recipe.tasks:
        pool = catalog.pool(catalog.card(task).name, pools)
        by_pool[pool.name].append(task)
    families: dict[str, tuple[str, ...]] = {}
    for tasks in by_pool.values():
        if len(tasks) > 1:
            families |= dict.fromkeys(tasks, tuple(sorted(tasks)))
    return families


@dataclass
class State:
    """What is known of the cells of a sweep, from their records and from how its jobs ended. Entries are only added."""

    done: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """Cells of jobs that are done -> metrics."""
    opened: set[str] = field(default_factory=set)
    """Search cells that were evaluated on the held-out sets, for ``oracle``."""
    failed: dict[str, str] = field(default_factory=dict)
    """Keys of jobs that failed -> reason."""
    code_errors: dict[str, str] = field(default_factory=dict)
    """Keys of the search jobs among them that failed by an error of code or an unreadable image -> the error."""

    def is_settled(self, job: Job) -> bool:
        """Whether a job is done or failed."""
        if job.key in self.failed:
            return True
        if job.kind == "oracle":
            return job.cell.id in self.opened
        return all(cell.id in self.done for cell in job.cells())


@dataclass(frozen=True)
class StudyProgress:
    """What follows for a study from a state.

    What is kept holds until the last trial of its ``peers`` is settled, or one of the first trials fails by an error of
    code. Then it is made anew.
    """

    study: Study
    state: State
    peers: Sequence[StudyProgress]
    """Of the studies of all tasks that share the winning setting, this one included."""

    def is_settled(self, job: Job) -> bool:
        """Whether a job of the study is done, failed or pruned."""
        return (job.kind == "search" and job.cell.id in self.study.pruned) or self.state.is_settled(job)

    @property
    def planned_jobs(self) -> Mapping[JobKind, int]:
        """Those of the study; once it has a winner, without the soup and oracle jobs that pruned trials do not get."""
        planned = dict(self.study.planned_jobs)
        if self.study.recipe.pruner == "none" or self.winner is None:
            return planned
        known = Counter(job.kind for job in self.jobs)
        for kind in planned.keys() & {"soup", "oracle"}:
            planned[kind] = known[kind]
        return planned

    @property
    def n_pruned(self) -> int:
        """Number of its trials that were pruned."""
        return sum(cell.id in self.study.pruned for cell in self.study.trial_cells)

    @cached_property
    def code_error(self) -> str:
        """The error with which each of the first trials failed (``State.code_errors``); else empty.

        It is for the person at the terminal: it may name files of this machine.
        """
        first = self.study.search_jobs[:FIRST_TRIALS]
        errors = [self.state.code_errors.get(job.key, "") for job in first]
        if len(errors) < FIRST_TRIALS or len(set(errors)) > 1:
            return ""
        return errors[0]

    @cached_property
    def finished_trials(self) -> list[Candidate] | None:
        """Every trial that neither failed nor was pruned; None before all trials are settled, and of a grid."""
        jobs, done = self.study.search_jobs, self.state.done
        if not jobs or len(jobs) < self.study.n_trials or not all(map(self.is_settled, jobs)):
            return None
        finished = []
        for number, job in enumerate(jobs):
            if job.cell.id in done and job.cell.id not in self.study.pruned:
                finished.append(Candidate(job.cell.id, number, done[job.cell.id]))
        return finished

    @cached_property
    def shortfall(self) -> str:
        """Why the trials of this study alone give no winner; empty while they may."""
        if self.code_error:
            return f"its first {FIRST_TRIALS} trials failed with the same error, and no other is run"
        finished, trials = self.finished_trials, self.study.recipe.trials
        if finished is None or len(finished) >= (needed := min_finished_trials(trials, self.n_pruned)):
            return ""
        pruned = f", {self.n_pruned} were pruned" if self.n_pruned else ""
        return f"{len(finished)} of {trials} trials finished{pruned}; a winner needs {needed}"

    @cached_property
    def candidates(self) -> list[Candidate] | None:
        """What selection sees, with means over tasks where they share a setting; None before all trials are settled."""
        tasks = []
        for peer in self.peers:
            if peer.finished_trials is None:
                return None
            tasks.append(peer.finished_trials)
        own = self.finished_trials
        return None if own is None else averaged(own, tasks)

    @cached_property
    def no_winner(self) -> str:
        """Why a study that is over has no winner; empty while it is open and when it has one."""
        if self.shortfall:
            return self.shortfall
        for peer in self.peers:
            if peer.shortfall:
                return f"its tasks share one setting, and {peer.study.task} has none: {peer.shortfall}"
        trials = self.study.recipe.trials
        if self.candidates is None or len(self.candidates) >= min_finished_trials(trials, self.n_pruned):
            return ""
        return f"{len(self.candidates)} of {trials} trials finished on every task"

    @cached_property
    def winner(self) -> Candidate | None:
        """The winner once every trial of all tasks that share it is settled; None before, and when too few finished."""
        if self.candidates is None or self.no_winner:
            return None
        return best(self.candidates)

    @cached_property
    def confirm_cells(self) -> list[Cell]:
        """The winner with every fresh seed; empty before there is a winner."""
        if self.winner is None:
            return []
        setting = self.study.settings[self.winner.trial]
        seeds = self.study.recipe.confirm_seeds(self.study.search)
        return [self.study.cell(setting, seed) for seed in seeds]

    def wants(self, kind: JobKind) -> bool:
        """Whether jobs of a kind may start: no trial after an error of code."""
        return not (kind == "search" and self.code_error)

    @property
    def asks(self) -> bool:
        """Whether the sampler is to be asked for more trials."""
        return len(self.study.settings) < self.study.n_trials and self.wants("search")

    @property
    def jobs(self) -> list[Job]:
        """The jobs that can run now or could before, in the order of :data:`KINDS`."""
        study, recipe, done = self.study, self.study.recipe, self.state.done
        jobs: list[Job] = []
        if not self.code_error:
            jobs += study.search_jobs
        for cell in study.grid_cells:
            jobs.append(Job("grid", cell))
        for cell in self.confirm_cells:
            jobs.append(Job("confirm", cell))
        for cell in self.confirm_cells:
            jobs += self.curves(cell)
        if self.winner is None:
            return jobs
        cells = {cell.id: cell for cell in study.trial_cells if cell.id in done and cell.id not in study.pruned}
        finished = list(cells.values())
        if study.is_souped and len(finished) > 1:
            jobs.append(Job("soup", soup_of(finished, SoupRule.UNIFORM, recipe.catalog)))
        if recipe.oracle:
            for cell in finished:
                jobs.append(Job("oracle", cell))
        return jobs

    def curves(self, confirmed: Cell) -> list[Job]:
        """The job that follows a confirm cell that is done, if the recipe has curves."""
        recipe = self.study.recipe
        if "wise_ft" not in recipe.methods or confirmed.id not in self.state.done:
            return []
        return [Job("curve", confirmed, alphas=recipe.alphas)]

    def file(self, running: Container[str], oracle: bool) -> StudyFile:
        """study.json as it is now. Keys with a default are left out of the file.

        running: keys of the jobs that run. oracle: whether search cells are, or were, opened for oracle selection.
        """
        study = self.study
        trials = []
        for number, (setting, job) in enumerate(zip(study.settings, study.search_jobs, strict=True)):
            status = self._status(job, running)
            trial = Trial(number=number, parameters=setting, cell=job.cell.id, status=status)
            if status == "pruned":
                trial = trial.model_copy(update={"validated": study.pruned[job.cell.id]})
            if study.finished_when_asked:
                trial = trial.model_copy(update={"finished": study.finished_when_asked[number]})
            trials.append(trial)
        content = {
            "id": study.id,
            "reading": {},
            **study.content,
            "trials": trials,
            "winner": self.winner.cell if self.winner else None,
            "confirm": [cell.id for cell in self.confirm_cells],
        }
        if study.grid_cells:
            content["grid"] = [cell.id for cell in study.grid_cells]
        if study.recipe.allow_edges:
            content["allow_edges"] = True
        if oracle:
            content["oracle"] = True
        if self.no_winner:
            content["too_few"] = self.no_winner
        return StudyFile.model_validate(content)

    def _status(self, job: Job, running: Container[str]) -> TrialStatus:
        if job.cell.id in self.study.pruned:
            return "pruned"
        if job.key in self.state.failed:
            return "failed"
        if job.cell.id in self.state.done:
            return "done"
        if job.key in running:
            return "running"
        return "open"
