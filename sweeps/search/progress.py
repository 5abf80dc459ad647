"""What follows for a study from what is known of its cells: its trials, its winner, its next jobs. No Ray, no disk.

``StudyProgress`` is a pure function of a study and a ``State``; ``observe`` (``sweeps.search.observation``) makes the
state from records. So neither kills, nor the order in which jobs end, nor the number of workers change what is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from carft.spec.cell import Cell
from carft.spec.registry import SOUP_RULES, WISE_ALPHAS
from carft.spec.resolve import interpolation, soup_of
from carft.spec.selection import Candidate, averaged, best, min_finished_trials
from sweeps.recipes import Recipe
from sweeps.search.study import Study

#: trials of a study that must fail first, all with the same error of code, for its other trials not to run
FIRST_TRIALS = 2
#: kinds of jobs, in the order in which they run: those of all studies before the next kind
Kind = Literal["search", "grid", "confirm", "curve", "soup", "oracle"]
KINDS: tuple[Kind, ...] = ("search", "grid", "confirm", "curve", "soup", "oracle")


@dataclass(frozen=True)
class Job:
    """A unit of work for one actor: a cell, the WiSE-FT curve of a finished confirm cell, or the soups of a study.

    A ``grid`` cell has a fixed setting and belongs to no search.
    All but search cells are unsealed; ``oracle`` unseals a search cell, after its study has a winner. Confirm cells
    keep their weights, and so do search cells that are needed again.
    """

    kind: Kind
    cell: Cell  # of a curve the parent, of soups the uniform one
    kept: bool = field(default=False, compare=False)  # whether a search cell is needed again: for soups, for oracle
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
        return self.kind in ("search", "grid", "confirm") and bool(self.cell.hyperparameters)

    def cells(self) -> list[Cell]:
        """The cells this job finishes."""
        if self.kind == "curve":
            return [interpolation(self.cell, alpha) for alpha in self.alphas]
        if self.kind == "soup":
            return [replace(self.cell, hyperparameters={"greedy": greedy}) for greedy in SOUP_RULES]
        return [self.cell]


@dataclass(frozen=True)
class State:
    """What is known of the cells of a sweep, from their records and from how its jobs ended."""

    done: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Cells of jobs that are done -> metrics."""
    opened: frozenset[str] = frozenset()
    """Search cells that were evaluated on the held-out sets, for ``oracle``."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Keys of jobs that failed -> reason."""
    code_errors: Mapping[str, str] = field(default_factory=dict)
    """Keys of the search jobs among them that failed by an error of code or an unreadable image -> the error."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Tasks of which an untrained cell found an image that cannot be read -> why."""
    found: frozenset[str] = frozenset()
    """Cells in ``done`` whose records were there before a job of this sweep ended."""
    observed: frozenset[str] = frozenset()
    """Keys of jobs whose records were looked for."""

    def is_settled(self, job: Job) -> bool:
        """Whether a job is done or failed."""
        if job.key in self.failed:
            return True
        if job.kind == "oracle":
            return job.cell.id in self.opened
        return all(cell.id in self.done for cell in job.cells())

    def merged(self, **changes: Any) -> State:
        """The state with more entries, by field."""
        return replace(self, **{name: getattr(self, name) | more for name, more in changes.items()})


@dataclass(frozen=True)
class TrialJob:
    """A trial of a study, and its job."""

    number: int
    """From 0."""
    parameters: Mapping[str, float]
    """What it tries."""
    job: Job


@dataclass(frozen=True)
class StudyProgress:
    """What follows for a study from a state."""

    study: Study
    state: State
    peers: Sequence[Study] = ()
    """The studies of all tasks that share the winning setting, this one included; empty for one of its own."""

    @property
    def recipe(self) -> Recipe:
        return self.study.recipe

    @cached_property
    def trials(self) -> list[TrialJob]:
        """The trials of the study. What they try depends on no result, so all of them can run at once."""
        study, trials, kept = self.study, list[TrialJob](), self.is_souped or self.recipe.oracle
        for number, parameters in enumerate([] if self.recipe.grid else study.settings):
            trials.append(TrialJob(number, parameters, Job("search", study.cell(parameters, study.search_seed), kept)))
        return trials

    @cached_property
    def candidates(self) -> list[Candidate] | None:
        """What selection sees, with means over tasks where they share a setting; None before all trials are settled."""
        own = self.finished_trials
        tasks = [StudyProgress(peer, self.state).finished_trials for peer in self.peers]
        if own is None or None in tasks or not tasks:
            return None if None in tasks else own
        return averaged(own, [candidates for candidates in tasks if candidates is not None])

    @cached_property
    def finished_trials(self) -> list[Candidate] | None:
        """Every trial of this task that did not fail; None before all trials are settled, and of a grid."""
        if self.recipe.grid or not all(self.state.is_settled(trial.job) for trial in self.trials):
            return None
        cells = {trial.number: trial.job.cell.id for trial in self.trials}
        done = self.state.done
        return [Candidate(cell, number, done[cell]) for number, cell in cells.items() if cell in done]

    @cached_property
    def winner(self) -> Candidate | None:
        """The winner once every trial of all tasks that share it is settled; None before, and when too few finished."""
        return None if self.candidates is None or self.no_winner else best(self.candidates)

    @cached_property
    def no_winner(self) -> str:
        """Why a study that is over has no winner; empty while it is open and when it has one."""
        if reason := self._no_winner:
            return reason
        for peer in self.peers:
            if reason := StudyProgress(peer, self.state)._no_winner:
                return f"its tasks share one setting, and {peer.task} has none: {reason}"
        if self.candidates is None or len(self.candidates) >= min_finished_trials(self.recipe.trials):
            return ""
        return f"{len(self.candidates)} of {self.recipe.trials} trials finished on every task"

    @cached_property
    def _no_winner(self) -> str:
        """Why the trials of this task give no winner."""
        if self.code_error:
            return f"its first {FIRST_TRIALS} trials failed with the same error, and no other is run: {self.code_error}"
        finished, trials = self.finished_trials, self.recipe.trials
        if finished is None and (reason := self.state.unreadable.get(self.study.task)):
            return f"an image of the task cannot be read, and nothing more of it is run: {reason}"
        if finished is None or len(finished) >= min_finished_trials(trials):
            return ""
        return f"{len(finished)} of {trials} trials finished; a winner needs {min_finished_trials(trials)}"

    @cached_property
    def code_error(self) -> str:
        """The error with which each of the first trials failed (``State.code_errors``); empty for any other study."""
        errors = [self.state.code_errors.get(trial.job.key, "") for trial in self.trials[:FIRST_TRIALS]]
        return errors[0] if len(errors) == FIRST_TRIALS and len(set(errors)) == 1 else ""

    @cached_property
    def confirm_cells(self) -> list[Cell]:
        """The winner with every fresh seed; empty before there is a winner."""
        if self.winner is None:
            return []
        parameters = self.trials[self.winner.trial].parameters
        return [self.study.cell(parameters, seed) for seed in self.recipe.confirm_seeds(self.study.search)]

    @property
    def is_souped(self) -> bool:
        return "soup" in self.recipe.methods and self.study.method.in_soups

    @cached_property
    def next_jobs(self) -> list[Job]:
        """The jobs that can run now and are not settled, in the order of :data:`KINDS`. Some of them may be running.

        Of a task with an unreadable image nothing new is run.
        """
        if self.study.task in self.state.unreadable:
            return []
        jobs = [] if self.code_error else [trial.job for trial in self.trials]
        jobs += [Job("grid", cell) for cell in self.study.grid_cells]
        jobs += [Job("confirm", cell) for cell in self.confirm_cells]
        if "wise_ft" in self.recipe.methods:
            confirmed = [cell for cell in self.confirm_cells if cell.id in self.state.done]
            jobs += [Job("curve", cell, alphas=self.recipe.alphas) for cell in confirmed]
        if self.winner is not None:
            finished = [trial.job.cell for trial in self.trials if trial.job.cell.id in self.state.done]
            if self.is_souped and len(finished) > 1:
                jobs.append(Job("soup", soup_of(finished, SOUP_RULES[0], self.recipe.catalog)))
            if self.recipe.oracle:
                jobs += [Job("oracle", cell) for cell in finished]
        return [job for job in jobs if not self.state.is_settled(job)]
