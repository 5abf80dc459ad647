"""What follows for a study from what is known of cells: its winner, its next jobs, its study.json. No Ray, no disk.

All is a pure function of the trials and of a ``State``. So neither kills, nor the order in which jobs end, nor the
number of workers change what is run, if the sampler fixes all trials in advance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from carft.catalog.resolve import soup_of
from carft.config.cell import Cell
from carft.config.registry import SoupRule
from carft.protocol.selection import Candidate, averaged, best, min_finished_trials
from carft.store.study_file import StudyFile, TrialStatus
from sweeps.faults.policy import FIRST_TRIALS
from sweeps.search.jobs import Job, JobKind
from sweeps.search.study import Study


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
        return (job.kind == "search" and job.cell.id in self.study.trials.pruned) or self.state.is_settled(job)

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

    @cached_property
    def code_error(self) -> str:
        """The error with which each of the first trials failed (``State.code_errors``); else empty.

        It is for the person at the terminal: it may name files of this machine.
        """
        first = self.study.trials.jobs[:FIRST_TRIALS]
        errors = [self.state.code_errors.get(job.key, "") for job in first]
        if len(errors) < FIRST_TRIALS or len(set(errors)) > 1:
            return ""
        return errors[0]

    @cached_property
    def finished_trials(self) -> list[Candidate] | None:
        """Every trial that neither failed nor was pruned; None before all trials are settled, and of a grid."""
        jobs = self.study.trials.jobs
        if not jobs or len(jobs) < self.study.n_trials or not all(map(self.is_settled, jobs)):
            return None
        finished = []
        for number, job in enumerate(jobs):
            if self._is_whole(job.cell):
                finished.append(Candidate(job.cell.id, number, self.state.done[job.cell.id]))
        return finished

    def _is_whole(self, cell: Cell) -> bool:
        """Whether a trial was trained to its end."""
        return cell.id in self.state.done and cell.id not in self.study.trials.pruned

    @property
    def _n_pruned(self) -> int:
        return sum(cell.id in self.study.trials.pruned for cell in self.study.trial_cells)

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

    def _lack_of(self, trials: Sequence[Candidate] | None, where: str = "") -> str:
        """Why these trials give no winner; empty while they may, and when they do."""
        asked = self.study.recipe.trials
        needed = min_finished_trials(asked, self._n_pruned)
        if trials is None or len(trials) >= needed:
            return ""
        pruned = f", {self._n_pruned} were pruned" if self._n_pruned else ""
        return f"{len(trials)} of {asked} trials finished{where}{pruned}; a winner needs {needed}"

    @cached_property
    def shortfall(self) -> str:
        """Why the trials of this study alone give no winner; empty while they may."""
        if self.code_error:
            return f"its first {FIRST_TRIALS} trials failed with the same error, and no other is run"
        return self._lack_of(self.finished_trials)

    @cached_property
    def no_winner(self) -> str:
        """Why a study that is over has no winner; empty while it is open and when it has one."""
        if self.shortfall:
            return self.shortfall
        for peer in self.peers:
            if peer.shortfall:
                return f"its tasks share one setting, and {peer.study.task} has none: {peer.shortfall}"
        return self._lack_of(self.candidates, " on every task")

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
        setting = self.study.trials.settings[self.winner.trial]
        seeds = self.study.recipe.confirm_seeds(self.study.search)
        return [self.study.cell(setting, seed) for seed in seeds]

    def wants(self, job: Job) -> bool:
        """Whether a job may start: it has not ended, and is no trial after an error of code."""
        return not (job.kind == "search" and self.code_error) and not self.is_settled(job)

    @property
    def asks(self) -> bool:
        """Whether the sampler is to be asked for more trials."""
        return len(self.study.trials.jobs) < self.study.n_trials and not self.code_error

    @property
    def jobs(self) -> list[Job]:
        """The jobs that can run now or could before, in the order of :data:`KINDS`."""
        study, recipe = self.study, self.study.recipe
        jobs: list[Job] = []
        if not self.code_error:
            jobs += study.trials.jobs
        for cell in study.grid_cells:
            jobs.append(Job("grid", cell))
        for cell in self.confirm_cells:
            jobs.append(Job("confirm", cell))
        for cell in self.confirm_cells:
            jobs += self.curves(cell)
        if self.winner is None:
            return jobs
        finished = {cell.id: cell for cell in study.trial_cells if self._is_whole(cell)}
        if study.is_souped and len(finished) > 1:
            jobs.append(Job("soup", soup_of(list(finished.values()), SoupRule.UNIFORM, recipe.catalog)))
        if recipe.oracle:
            for cell in finished.values():
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
        study, trials = self.study, self.study.trials
        rows = []
        for number, (setting, job) in enumerate(zip(trials.settings, trials.jobs, strict=True)):
            cell = job.cell.id
            row = {"trial": number, "parameters": setting, "cell": cell, "status": self._status(job, running)}
            if cell in trials.pruned:
                row["validated"] = trials.pruned[cell]
            if not study.sampler.is_fixed:
                row["finished"] = trials.finished_when_asked[number]
            rows.append(row)
        content: dict[str, Any] = {"id": study.id, "reading": {}, **study.content, "trials": rows}
        content["winner"] = self.winner.cell if self.winner else None
        content["confirm"] = [cell.id for cell in self.confirm_cells]
        grid = [cell.id for cell in study.grid_cells]
        at_will = {"grid": grid, "allow_edges": study.recipe.allow_edges, "oracle": oracle, "too_few": self.no_winner}
        content.update({name: value for name, value in at_will.items() if value})
        return StudyFile.model_validate(content)

    def _status(self, job: Job, running: Container[str]) -> TrialStatus:
        if job.cell.id in self.study.trials.pruned:
            return "pruned"
        if job.key in self.state.failed:
            return "failed"
        if job.cell.id in self.state.done:
            return "done"
        if job.key in running:
            return "running"
        return "open"
