"""The searches of a results folder as a journal of Optuna, which optuna-dashboard shows while a sweep runs.

The journal is written anew by each process, from studies and records; nothing reads it.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from carft.store.records import Store
from carft.store.study_file import StudyFile, Trial
from sweeps.search.records import validated_epochs

JOURNAL = "optuna.journal"
#: status of a trial that has no record -> its state
ENDED = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class OptunaJournal:
    """Appends the trials of each study as they end."""

    def __init__(self, store: Store) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.store = store
        path = store.root / JOURNAL
        for left in (path, path.with_name(f"{JOURNAL}.lock")):
            left.unlink(missing_ok=True)
        self.storage = JournalStorage(JournalFileBackend(str(path)))
        self._changed: dict[str, int] = {}  # id of a study -> when its file changed
        self._studies: dict[str, optuna.Study] = {}  # id of a study -> the study in the journal
        self._open: dict[str, dict[str, tuple[StudyFile, Trial]]] = defaultdict(dict)
        """Cell -> study -> its trial, of trials that have no record and are not in the journal."""
        self._seen: set[tuple[str, int]] = set()  # (study, number) of those in the journal

    def append(self, cell: str) -> None:
        """Append the trials of a finished cell, with its times and val/top1 after each epoch."""
        self.read_studies()
        for study, trial in self._open.pop(cell, {}).values():
            record = self.store.read(cell)
            ended = datetime.fromisoformat(record.finished_at)
            seconds = record.durations.get("train", 0.0) + record.durations.get("validate", 0.0)
            times = {"datetime_start": ended - timedelta(seconds=seconds), "datetime_complete": ended}
            validated = validated_epochs(self.store, cell)
            self._add(study, trial, TrialState.COMPLETE, validated, record.metrics["val/top1"], times)

    def read_studies(self) -> None:
        """Look for new trials in the studies that changed, and append those that were pruned or have failed."""
        for name in self.store.study_names():
            path = self.store.study_path(name)
            changed = path.stat().st_mtime_ns
            study = None
            if changed != self._changed.get(name):
                study = self.store.readable(path, StudyFile)
            if study is None:
                continue
            self._changed[name] = changed
            for trial in study.trials:
                if (study.id, trial.number) in self._seen:
                    continue
                if trial.status in ENDED:
                    value = trial.validated[-1] if trial.validated else None
                    self._add(study, trial, ENDED[trial.status], trial.validated, value)
                else:
                    self._open[trial.cell][study.id] = study, trial

    def _add(
        self,
        study: StudyFile,
        trial: Trial,
        state: TrialState,
        validated: list[float],
        value: float | None,
        times: dict[str, datetime] | None = None,
    ) -> None:
        """Append a trial. validated: val/top1 after each epoch. times: when it began and ended, where it is known."""
        self._seen.add((study.id, trial.number))
        if study.id not in self._studies:
            self._studies[study.id] = self._new_study(study)
        ranges: dict[str, BaseDistribution] = {}
        for name, tried in trial.parameters.items():
            low, high, _ = study.space[name]
            ranges[name] = FloatDistribution(min(low, tried), max(high, tried), log=True)
        facts: dict[str, Any] = {"cell": trial.cell, "trial": trial.number}
        added = create_trial(
            state=state,
            value=value,
            params=dict(trial.parameters),
            distributions=ranges,
            intermediate_values=dict(enumerate(validated, start=1)),
            user_attrs=facts,
        )
        for name, moment in (times or {}).items():
            setattr(added, name, moment)
        self._studies[study.id].add_trial(added)

    def _new_study(self, study: StudyFile) -> optuna.Study:
        """A study of the journal under a name that people read."""
        method = self.store.catalog.methods.get(study.method)
        reading = [f"{factor} {value}" for factor, value in study.reading.items()]
        name = " · ".join([study.task, method.label if method else study.method, *reading, f"search {study.search}"])
        if name in optuna.get_all_study_names(self.storage):
            name += f" · {study.id[:8]}"  # it differs in the model, the budget or another setting
        created = optuna.create_study(storage=self.storage, study_name=name, direction="maximize")
        created.set_metric_names(["val/top1"])
        return created
