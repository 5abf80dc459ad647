"""The one protocol: search -> select on validation -> confirm -> unseal. Pure bookkeeping over records; no Ray.

``Protocol`` hands out jobs and is told how they ended. What it hands out depends on the records alone, so a sweep
that was killed goes on from its records, and its winners are those of an undisturbed run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import filterfalse, islice
from typing import Any, Literal

from carft.core.errors import UserError
from carft.data.catalog import card
from carft.spec.cell import Cell
from carft.spec.registry import SOUP_RULES, WISE_ALPHAS, method_card, souped_methods
from carft.spec.resolve import interpolation, soup_of
from carft.spec.selection import Candidate, best, enough
from carft.spec.weights import DIGEST_MARK
from carft.store.early_stopping import Curve, PrunedTrial, Thresholds, known_curve, known_pruned, thresholds_of
from carft.store.failure_kinds import CODE, UNREADABLE
from carft.store.failures import failures
from carft.store.records import Store
from carft.store.study import Status, StudyFile, Trial
from sweeps.recipes import Recipe
from sweeps.search.sampler import Tried, suggest
from sweeps.search.study import Study, as_known, is_larger, studies_of, with_extension

#: trials of a study that must fail first, all with the same error of code, for its other trials not to run
FIRST_TRIALS = 2
Kind = Literal["search", "confirm", "curve", "soup", "oracle"]


@dataclass(frozen=True)
class Job:
    """A unit of work for one actor: a cell, the WiSE-FT curve of a finished confirm cell, or the soups of a study.

    All but search cells are unsealed; ``oracle`` unseals a search cell, after its study has a winner. Confirm cells
    keep their weights, and so do search cells that are needed again. limits: of early stopping, for a search cell.
    """

    kind: Kind
    cell: Cell  # of a curve the parent, of soups the uniform one
    kept: bool = field(default=False, compare=False)  # whether a search cell is needed again: for soups, for oracle
    limits: Thresholds = field(default_factory=dict, compare=False)
    alphas: Sequence[float] = field(default=WISE_ALPHAS, compare=False)  # of a curve

    @property
    def keep_weights(self) -> bool:
        return self.kind == "confirm" or self.kept

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.cell.id}"

    @property
    def trains(self) -> bool:
        """Whether a training is part of the job."""
        return self.kind in ("search", "confirm") and bool(self.cell.hyperparameters)

    def cells(self) -> list[Cell]:
        """The cells this job finishes."""
        if self.kind == "curve":
            return [interpolation(self.cell, alpha) for alpha in self.alphas]
        if self.kind == "soup":
            return [replace(self.cell, hyperparameters={"greedy": greedy}) for greedy in SOUP_RULES]
        return [self.cell]


#: (number, parameters, job) of a trial
TrialJob = tuple[int, dict[str, float], Job]


@dataclass
class Protocol:
    """Hands out the jobs of a recipe, one at a time, from what the records say is missing."""

    recipe: Recipe
    store: Store
    done: dict[str, dict[str, float]] = field(default_factory=dict)  # cell -> metrics
    running: dict[str, Job] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # job key -> reason
    stopped: dict[str, PrunedTrial] = field(default_factory=dict)  # search cell that was pruned -> how far it came
    reused: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)  # search cells unsealed for oracle selection
    failed_before: Mapping[str, str] = field(default_factory=dict)  # job key -> reason: not run again
    own: frozenset[str] = frozenset()  # cells on disk that this sweep finished, before it was started again

    def __post_init__(self) -> None:
        methods = [method_card(name) for name in self.recipe.methods]
        studies = studies_of(self.recipe, [m for m in methods if m.kind == "trained"])
        if any(DIGEST_MARK in study.content["pretrained"] for study in studies):
            on_disk = map(self._known, self.store.study_names())
            studies = as_known(studies, [known for known in on_disk if known is not None])
        self.studies = studies
        self._oracle = {study.id for study in studies if self.recipe.oracle or self._had_oracle(study.id)}
        self._written: dict[str, StudyFile] = {}
        self._study_of: dict[str, str] = {}  # job key -> study
        self._moved = {study.id for study in self.studies}  # what write_studies has to look at
        self._stages_over = dict.fromkeys(self._moved, 0)  # how many stages of a study have nothing left to run
        self._asked: dict[tuple[str, int], list[TrialJob]] = {}  # (study, first trial) -> the trials of a round
        self._curves: dict[str, Curve] = {}
        self._code_errors: dict[str, str] = {}  # study -> what its first trials all failed with
        self._unreadable: dict[str, str] = {}  # task -> why an image of it cannot be read

    def next_job(self) -> Job | None:
        """A job that can start now, or None when all that is left waits for running jobs, or nothing is left."""
        for job in self._open_jobs():
            if job.key not in self.running:
                self.running[job.key] = job
                self._move(job)
                return job
        return None

    def ready_trainings(self, most: int) -> int:
        """Number of trainings that can start now, counted up to ``most``."""
        ready = (job for job in self._open_jobs() if job.trains and job.key not in self.running)
        return sum(1 for _ in islice(ready, most))

    def look(self) -> None:
        """Update ``done``, ``stopped`` and ``failed`` from the records; start no job."""
        for _ in self._open_jobs():
            pass

    def is_over(self, cell: str) -> bool:
        """Whether nothing is left to do for a cell that did not fail: it is done, or it was pruned."""
        return cell in self.done or cell in self.stopped

    def finished(self) -> bool:
        """Whether nothing is running and nothing can start."""
        return not self.running and next(self._open_jobs(), None) is None

    def end(self, job: Job, failure: str | None = None) -> None:
        """Note how a job ended. Raises when its records cannot be read; the job then stays in ``running``."""
        if failure is not None:
            self.failed[job.key] = failure
            if not job.trains:
                self._moved |= {study.id for study in self.studies if study.task == job.cell.task}
        elif job.kind == "oracle":
            self.opened.add(job.cell.id)
        elif (stop := known_pruned(self.store, job.cell, job.limits)) is not None:
            self.stopped[job.cell.id] = stop
        else:
            self.done |= {cell.id: self.store.metrics(cell.id) for cell in job.cells()}
        self.give_back(job)

    def give_back(self, job: Job) -> None:
        """Note that a job does not run any more; if it is neither done nor failed, it is open again."""
        del self.running[job.key]
        self._move(job)

    def _move(self, job: Job) -> None:
        if job.key in self._study_of:
            self._moved.add(self._study_of[job.key])

    def trials(self, study: Study) -> Iterator[tuple[int, dict[str, float], Cell]]:
        """(number, parameters, cell) of every trial that can be known now: rounds after an open round cannot."""
        return ((number, parameters, job.cell) for number, parameters, job in self._searches(study))

    def _searches(self, study: Study) -> Iterator[TrialJob]:
        """The same trials with their jobs."""
        earlier: list[Tried] = []
        curves: list[Curve] = []
        for first in range(0, self.recipe.trials, self.recipe.round_size):
            found = self._round(study, first, earlier, curves)
            yield from found
            if not all(self._settled(job) for _, _, job in found):
                return
            earlier += [tried for _, p, job in found for tried in self._tried(p, job.cell.id)]
            curves += [self._curve(job.cell.id) for _, _, job in found if self.is_over(job.cell.id)]

    def _curve(self, cell: str) -> Curve:
        """The validation curve of a trial that is over, where limits are made of it; read once."""
        if cell in self.stopped:
            return self.stopped[cell].curve
        if cell not in self._curves:
            self._curves[cell] = known_curve(self.store, cell) if self.recipe.stopping_rungs() else ()
        return self._curves[cell]

    def _tried(self, parameters: dict[str, float], cell: str) -> Iterator[Tried]:
        """What the sampler is told of a settled trial; nothing of one that failed."""
        if (stop := self.stopped.get(cell)) is not None:
            yield Tried(parameters, stop.value, stop.epochs)
        elif cell in self.done:
            yield Tried(parameters, self.done[cell]["val/top1"])

    def _round(self, study: Study, first: int, earlier: Sequence[Tried], curves: Sequence[Curve]) -> list[TrialJob]:
        """The trials of the round that begins with trial ``first``; asked once."""
        if (key := (study.id, first)) not in self._asked:
            kept = self._is_souped(study) or self.recipe.oracle
            limits = thresholds_of(self.recipe.stopping_rungs(), curves)
            numbers = range(first, min(first + self.recipe.round_size, self.recipe.trials))
            tried = [(k, suggest(study.space, study.seed, k, earlier)) for k in numbers]
            self._asked[key] = [(k, p, Job("search", study.cell(p, study.search_seed), kept, limits)) for k, p in tried]
        return self._asked[key]

    def winner(self, study: Study) -> Candidate | None:
        """The study's winner once every trial is settled; None before, and when too few finished."""
        ended = None if self.code_error(study) else self._candidates(study)
        return best(ended) if ended is not None and len(ended) >= enough(self.recipe.trials) else None

    def _candidates(self, study: Study) -> list[Candidate] | None:
        """What selection sees: every trial that did not fail; None before all trials are settled."""
        trials = list(self._searches(study))
        if len(trials) < self.recipe.trials or not all(self._settled(job) for _, _, job in trials):
            return None
        found = []
        for number, _, job in trials:
            if (stop := self.stopped.get(job.cell.id)) is not None:
                found.append(Candidate(job.cell.id, number, {"val/top1": stop.value}, full_budget=False))
            elif job.cell.id in self.done:
                found.append(Candidate(job.cell.id, number, self.done[job.cell.id]))
        return found

    def too_few(self, study: Study) -> str:
        """Why a study that is over has no winner; empty while it is open and when it has one."""
        if error := self.code_error(study):
            return f"its first {FIRST_TRIALS} trials failed with the same error, and no other is run: {error}"
        ended, trials = self._candidates(study), self.recipe.trials
        if ended is None and (reason := self.unreadable(study.task)):
            return f"an image of the task cannot be read, and nothing more of it is run: {reason}"
        if ended is None or len(ended) >= enough(trials):
            return ""
        return f"{len(ended)} of {trials} trials finished; a winner needs {enough(trials)}"

    def code_error(self, study: Study) -> str:
        """The error of code, or the unreadable image, with which each of the first trials of a study failed; empty for
        any other study."""
        if study.id in self._code_errors or not (self.failed or self.failed_before):
            return self._code_errors.get(study.id, "")
        first = [job for _, _, job in islice(self._searches(study), FIRST_TRIALS)]
        if len(first) == FIRST_TRIALS and all(self._settled(job) and job.key in self.failed for job in first):
            known = {failure.cell: failure for failure in failures(self.store)}
            ends = {(known[job.cell.id].kind, known[job.cell.id].reason) for job in first if job.cell.id in known}
            if len(ends) == 1 and (end := ends.pop())[0] in (CODE, UNREADABLE):
                self._code_errors[study.id] = end[1]
        return self._code_errors.get(study.id, "")

    def unreadable(self, task: str) -> str:
        """Why an image of a task cannot be read, as an untrained cell of it found; empty for any other task."""
        if task not in self._unreadable:
            failed = [job for job in self._untrained_jobs if job.cell.task == task and job.key in self.failed]
            known = {failure.cell: failure for failure in failures(self.store)} if failed else {}
            for job in failed:
                if job.cell.id in known and known[job.cell.id].kind == UNREADABLE:
                    self._unreadable[task] = known[job.cell.id].reason
        return self._unreadable.get(task, "")

    def confirm_cells(self, study: Study) -> list[Cell]:
        """The winner with every fresh seed; empty before there is a winner."""
        winner = self.winner(study)
        if winner is None:
            return []
        parameters = {c.id: p for _, p, c in self.trials(study)}[winner.cell]
        return [study.cell(parameters, seed) for seed in self.recipe.confirm_seeds(study.search)]

    def planned(self) -> Counter[Kind]:
        """Kind of job -> cells of the whole sweep that it computes."""
        recipe, studies = self.recipe, len(self.studies)
        untrained = len(recipe.tasks) * sum(method_card(name).kind == "untrained" for name in recipe.methods)
        curves = len(recipe.alphas) if "wise_ft" in recipe.methods else 0
        souped = sum(map(self._is_souped, self.studies)) if recipe.trials > 1 else 0
        return Counter(
            {
                "search": studies * recipe.trials,
                "confirm": studies * recipe.seeds + untrained,
                "curve": studies * recipe.seeds * curves,
                "soup": souped * len(SOUP_RULES),
            }
        )

    def cells_of(self, key: str) -> int:
        """Number of cells of the job with this key."""
        return {"curve": len(self.recipe.alphas), "soup": len(SOUP_RULES)}.get(key.partition("-")[0], 1)

    def total(self) -> int:
        """Number of cells of the whole sweep."""
        return self.planned().total()

    def write_studies(self) -> None:
        """Write study.json of every study that moved since the last call."""
        for study in [study for study in self.studies if study.id in self._moved]:
            known = self._known(study.id)
            content = with_extension(known, self._content(study), self.store, self._earlier_searches(study))
            if self._written.get(study.id) != content and not is_larger(known, content):
                self.store.write_study(study.id, content)
                self._written[study.id] = content
            self._moved.discard(study.id)  # not before it is written

    def _earlier_searches(self, study: Study) -> list[StudyFile]:
        """The earlier searches of the same task, method and reading, as they are on disk."""
        earlier = (self._known(replace(study, search=search).id) for search in range(1, study.search))
        return [known for known in earlier if known is not None]

    def _content(self, study: Study) -> StudyFile:
        """The study as it is now. Keys with a default are left out of the file."""
        winner = self.winner(study)
        content = {
            "id": study.id,
            "seed": study.seed,
            "reading": {},
            **study.content,
            "trials": [self._trial(*each) for each in self._searches(study)],
            "winner": winner.cell if winner else None,
            "confirm": [cell.id for cell in self.confirm_cells(study)],
        }
        marks = {
            "allow_edges": self.recipe.allow_edges,
            "oracle": study.id in self._oracle,
            "too_few": self.too_few(study),
        }
        return StudyFile.model_validate(content | {name: mark for name, mark in marks.items() if mark})

    def _trial(self, number: int, parameters: dict[str, float], job: Job) -> Trial:
        stop = self.stopped.get(job.cell.id)
        ended: dict[str, Any] = {} if stop is None else {"stopped_after": stop.epochs, "value": stop.value}
        return Trial(number=number, parameters=parameters, cell=job.cell.id, status=self._status(job), **ended)

    def _had_oracle(self, study: str) -> bool:
        known = self._known(study)
        return known is not None and known.oracle

    def _known(self, study: str) -> StudyFile | None:
        """The study on disk; None when there is none, or a corrupt one, which is written again."""
        try:
            return self.store.study(study)
        except UserError:
            return None

    def _open_jobs(self) -> Iterator[Job]:
        """Jobs that could run now and are neither done nor failed; records that are there count as done.

        First the searches of all studies, then what waits for them, so that no core is idle at a sweep's end. A stage
        of a study that is over is not looked at again. Of a task with an unreadable image nothing new is run.
        """
        yield from filterfalse(self._settled, self._untrained_jobs)
        stages = (self._search_jobs, self._confirm_jobs, self._curve_jobs, self._soup_jobs, self._oracle_jobs)
        for number, jobs_of in enumerate(stages):
            for study in self.studies:
                over = self._stages_over[study.id]
                if over > number:
                    continue
                missing = False
                for job in filterfalse(self._settled, jobs_of(study)):
                    missing = True
                    self._study_of[job.key] = study.id
                    if job.key in self.running or not self.unreadable(study.task):
                        yield job
                if over == number and not missing:
                    self._stages_over[study.id] += 1
                    self._moved.add(study.id)

    def _search_jobs(self, study: Study) -> Iterator[Job]:
        jobs = (job for _, _, job in self._searches(study))
        return (job for job in jobs if job.key in self.running) if self.code_error(study) else jobs

    def _confirm_jobs(self, study: Study) -> Iterator[Job]:
        return (Job("confirm", cell) for cell in self.confirm_cells(study))

    def _curve_jobs(self, study: Study) -> Iterator[Job]:
        if "wise_ft" in self.recipe.methods:
            alphas = self.recipe.alphas
            yield from (Job("curve", c, alphas=alphas) for c in self.confirm_cells(study) if c.id in self.done)

    def _oracle_jobs(self, study: Study) -> Iterator[Job]:
        if self.recipe.oracle and self.winner(study) is not None:
            yield from (Job("oracle", cell) for _, _, cell in self.trials(study) if cell.id in self.done)

    def _is_souped(self, study: Study) -> bool:
        return "soup" in self.recipe.methods and study.method.name in souped_methods()

    def _soup_jobs(self, study: Study) -> Iterator[Job]:
        """The soups over the finished search cells of a study, once all its trials are settled."""
        if self._is_souped(study) and self.winner(study) is not None:
            parents = [cell for _, _, cell in self.trials(study) if cell.id in self.done]
            if len(parents) > 1:
                yield Job("soup", soup_of(parents, greedy=SOUP_RULES[0]))

    @cached_property
    def _untrained_jobs(self) -> list[Job]:
        methods = [name for name in self.recipe.methods if method_card(name).kind == "untrained"]
        return [Job("confirm", self.recipe.cell(task, name, {})) for task in self.recipe.tasks for name in methods]

    def _settled(self, job: Job) -> bool:
        """Whether the job is done or has failed; a whole record found on disk makes it done."""
        if job.key in self.failed:
            return True
        if job.kind != "oracle" and all(cell.id in self.done for cell in job.cells()):
            return True
        if job.kind == "search" and self._is_stopped(job):
            return True
        if job.key in self.running or not all(self._on_disk(job, cell) for cell in job.cells()):
            if job.key in self.failed_before:
                self.failed[job.key] = self.failed_before[job.key]
            return job.key in self.failed
        if job.kind == "oracle":
            return True
        for cell in job.cells():
            self.done[cell.id] = self.store.metrics(cell.id)
            if cell.id not in self.own:
                self.reused.add(cell.id)
        return True

    def _is_stopped(self, job: Job) -> bool:
        """Whether the trial was pruned; a note of it found on disk makes it so."""
        cell = job.cell.id
        if cell not in self.stopped and job.key not in self.running:
            if (stop := known_pruned(self.store, job.cell, job.limits)) is None:
                return False
            self.stopped[cell] = stop
        return cell in self.stopped

    def _on_disk(self, job: Job, cell: Cell) -> bool:
        if job.kind == "oracle" and cell.id in self.opened:
            return True
        if not self.store.is_current(cell.id):
            return False
        if job.kind == "search":
            return True
        return self.store.evaluated(cell.id) >= set(card(cell.task).sets)

    def _status(self, job: Job) -> Status:
        if job.key in self.failed:
            return "failed"
        if job.cell.id in self.stopped:
            return "stopped"
        return "done" if job.cell.id in self.done else "running" if job.key in self.running else "open"


def slots_of_a_confirm_cell(slots: int, free: int, trainings: int) -> int:
    """The slots that a confirm cell takes: those that no other training would use now, and a divisor of all of them.

    What waits beside trainings is short, and starts once a training ends.

    Args:
        slots: Jobs at a time at most, at least 1.
        free: Slots that no job uses, from 1 to ``slots``.
        trainings: Trainings that can start now, this one included; at least 1.
    """
    return max(share for share in range(1, max(1, free // trainings) + 1) if slots % share == 0)
