"""The trials of one search: what each tries, its job, and how it ended, as sampler and pruner are told. No disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from sweeps.search.jobs import Job

if TYPE_CHECKING:
    from sweeps.search.optuna_study import OptunaStudy
    from sweeps.search.study import Study


class Trials:
    """The trials of a study, by number. All are here from the start if the sampler fixes them in advance."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.settings: list[dict[str, float]] = []
        """What each tries."""
        self.jobs: list[Job] = []
        """All can run at once."""
        self.finished_when_asked: list[int] = []
        """Number of trials that had finished when each was asked for."""
        self.pruned: dict[str, list[float]] = {}
        """Cell of a trial that was pruned -> val/top1 after each of its epochs."""
        if study.sampler.is_fixed:
            for _ in range(study.n_trials):
                self.ask(0)

    @cached_property
    def _asked(self) -> OptunaStudy:
        from sweeps.search.optuna_study import OptunaStudy  # Optuna takes longer to import than many commands run

        study = self.study
        return OptunaStudy(study.space, study.sampler, study.search_seed, study.recipe.pruner)

    def ask(self, finished: int) -> Job:
        """Ask the sampler for one more trial; returns its job. finished: number of trials that have finished."""
        return self._append(self._asked.ask(), finished)

    def add(self, setting: Mapping[str, float], finished: int) -> Job:
        """Add a trial that an earlier process asked for; returns its job."""
        self._asked.add(setting)
        return self._append(dict(setting), finished)

    def _append(self, setting: dict[str, float], finished: int) -> Job:
        study = self.study
        job = Job("search", study.cell(setting, study.search_seed), study.is_souped or study.recipe.oracle)
        self.jobs.append(job)
        self.settings.append(setting)
        self.finished_when_asked.append(finished)
        return job

    def stops(self, job: Job, values: Sequence[float]) -> bool:
        """Tell the pruner val/top1 after each epoch of a job so far; return whether it stops all trials of the job."""
        answers = [self._asked.stops(trial, values) for trial in self._numbers_of(job)]
        return all(answers)

    def tell(self, job: Job, value: float | None, values: Sequence[float] = ()) -> None:
        """Tell sampler and pruner how a job ended. value: val/top1; None where it failed or was pruned.

        values: val/top1 after each epoch.
        """
        for trial in self._numbers_of(job):
            self._asked.stops(trial, values)
            self._asked.tell(trial, value, job.cell.id in self.pruned)

    def _numbers_of(self, job: Job) -> list[int]:
        """The trials that have the cell of a job: a sampler may propose a setting again."""
        return [number for number, own in enumerate(self.jobs) if own.cell.id == job.cell.id]
