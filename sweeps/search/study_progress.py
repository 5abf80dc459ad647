"""What follows for a study from what is known of its cells: winner, next jobs, study.json. No Ray, no disk.

``StudyProgress`` is a pure function of a study and a ``State``, which ``sweeps.search.protocol`` makes from records. So
neither kills, nor the order in which jobs end, nor the number of workers change what is run.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from carft.config.cell import Cell
from carft.config.registry import SOUP_RULES
from carft.config.resolve import soup_of
from carft.config.selection import Candidate, averaged, best, min_finished_trials
from carft.store.study import Status, StudyFile, Trial
from sweeps.search.study import Job, Study

#: trials of a study that must fail first, all with the same error of code, for its other trials not to run
FIRST_TRIALS = 2


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
    unreadable: dict[str, str] = field(default_factory=dict)
    """Tasks of which an untrained cell found an image that cannot be read -> why."""

    def is_settled(self, job: Job) -> bool:
        """Whether a job is done or failed."""
        if job.key in self.failed:
            return True
        if job.kind == "oracle":
            return job.cell.id in self.opened
        return all(cell.id in self.done for cell in job.cells())


@dataclass(frozen=True)
class StudyProgress:
    """What follows for a study from a state."""

    study: Study
    state: State
    peers: Sequence[Study]
    """The studies of all tasks that share the winning setting, this one included."""

    @cached_property
    def winner(self) -> Candidate | None:
        """The winner once every trial of all tasks that share it is settled; None before, and when too few finished."""
        return None if self.candidates is None or self.no_winner else best(self.candidates)

    @cached_property
    def candidates(self) -> list[Candidate] | None:
        """What selection sees, with means over tasks where they share a setting; None before all trials are settled."""
        tasks = [finished for peer in self.peers if (finished := finished_trials(peer, self.state)) is not None]
        own = finished_trials(self.study, self.state)
        return averaged(own, tasks) if own is not None and len(tasks) == len(self.peers) else None

    @cached_property
    def no_winner(self) -> str:
        """Why a study that is over has no winner; empty while it is open and when it has one."""
        if reason := shortfall(self.study, self.state):
            return reason
        for peer in self.peers:
            if reason := shortfall(peer, self.state):
                return f"its tasks share one setting, and {peer.task} has none: {reason}"
        trials = self.study.recipe.trials
        if self.candidates is None or len(self.candidates) >= min_finished_trials(trials):
            return ""
        return f"{len(self.candidates)} of {trials} trials finished on every task"

    @cached_property
    def confirm_cells(self) -> list[Cell]:
        """The winner with every fresh seed; empty before there is a winner."""
        if self.winner is None:
            return []
        seeds = self.study.recipe.confirm_seeds(self.study.search)
        return [self.study.cell(self.study.settings[self.winner.trial], seed) for seed in seeds]

    @cached_property
    def next_jobs(self) -> list[Job]:
        """The jobs that can run now and are not settled. Some of them may be running.

        Of a task with an unreadable image nothing new is run.
        """
        is_open = self.study.task not in self.state.unreadable
        return [job for job in self.jobs if is_open and not self.state.is_settled(job)]

    @cached_property
    def jobs(self) -> list[Job]:
        """The jobs that can run now or could before, in the order of :data:`KINDS`."""
        study, recipe, done = self.study, self.study.recipe, self.state.done
        jobs = [] if code_error(study, self.state) else list(study.search_jobs)
        jobs += [Job("grid", cell) for cell in study.grid_cells]
        jobs += [Job("confirm", cell) for cell in self.confirm_cells]
        if "wise_ft" in recipe.methods:
            jobs += [Job("curve", cell, alphas=recipe.alphas) for cell in self.confirm_cells if cell.id in done]
        if self.winner is not None:
            finished = [job.cell for job in study.search_jobs if job.cell.id in done]
            if study.is_souped and len(finished) > 1:
                jobs.append(Job("soup", soup_of(finished, SOUP_RULES[0], recipe.catalog)))
            if recipe.oracle:
                jobs += [Job("oracle", cell) for cell in finished]
        return jobs

    def file(self, running: Container[str], oracle: bool) -> StudyFile:
        """study.json as it is now. Keys with a default are left out of the file.

        running: keys of the jobs that run. oracle: whether search cells are, or were, opened for oracle selection.
        """
        study = self.study
        trials = [
            Trial(number=number, parameters=setting, cell=job.cell.id, status=self._status(job, running))
            for number, (setting, job) in enumerate(zip(study.settings, study.search_jobs, strict=True))
        ]
        content = {
            "id": study.id,
            "reading": {},
            **study.content,
            "trials": trials,
            "winner": self.winner.cell if self.winner else None,
            "confirm": [cell.id for cell in self.confirm_cells],
        }
        grid = [cell.id for cell in study.grid_cells]
        marks = {"grid": grid, "allow_edges": study.recipe.allow_edges, "oracle": oracle, "too_few": self.no_winner}
        return StudyFile.model_validate(content | {name: mark for name, mark in marks.items() if mark})

    def _status(self, job: Job, running: Container[str]) -> Status:
        if job.key in self.state.failed:
            return "failed"
        return "done" if job.cell.id in self.state.done else "running" if job.key in running else "open"


def finished_trials(study: Study, state: State) -> list[Candidate] | None:
    """Every trial of a study that did not fail; None before all trials are settled, and of a grid."""
    jobs, done = study.search_jobs, state.done
    if not jobs or not all(map(state.is_settled, jobs)):
        return None
    cells = [job.cell.id for job in jobs]
    return [Candidate(cell, number, done[cell]) for number, cell in enumerate(cells) if cell in done]


def shortfall(study: Study, state: State) -> str:
    """Why the trials of a study give no winner; empty while they may."""
    if error := code_error(study, state):
        return f"its first {FIRST_TRIALS} trials failed with the same error, and no other is run: {error}"
    finished, trials = finished_trials(study, state), study.recipe.trials
    if finished is None and (reason := state.unreadable.get(study.task)):
        return f"an image of the task cannot be read, and nothing more of it is run: {reason}"
    if finished is None or len(finished) >= min_finished_trials(trials):
        return ""
    return f"{len(finished)} of {trials} trials finished; a winner needs {min_finished_trials(trials)}"


def code_error(study: Study, state: State) -> str:
    """The error with which each of the first trials failed (``State.code_errors``); empty for any other study."""
    errors = [state.code_errors.get(job.key, "") for job in study.search_jobs[:FIRST_TRIALS]]
    return errors[0] if len(errors) == FIRST_TRIALS and len(set(errors)) == 1 else ""
