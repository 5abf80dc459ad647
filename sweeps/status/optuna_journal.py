"""The searches of a results folder as a journal of Optuna, which optuna-dashboard shows while a sweep runs.

The journal is written anew by each process, from studies and records; nothing reads it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from carft.store.records import Store
from carft.store.study_file import StudyFile, Trial
from carft.store.sweep_state import read_states
from sweeps.search.protocol import validated_epochs

JOURNAL = "optuna.journal"


class OptunaJournal:
    """Appends the trials of each study by number, once they begin, and how they end."""

    def __init__(self, store: Store) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.store = store
        path = store.root / JOURNAL
        for left in (path, path.with_name(f"{JOURNAL}.lock")):
            left.unlink(missing_ok=True)
        self.storage = JournalStorage(JournalFileBackend(str(path)))
        self.studies: dict[str, tuple[int, StudyFile]] = {}  # id -> when its file changed, its content
        self.names: dict[str, int] = {}  # id of a study -> its number in the journal
        self.trials: dict[str, dict[int, int]] = defaultdict(dict)  # id of a study -> trial -> its number there
        self.running: set[int] = set()  # such numbers

    def update(self) -> None:
        """Append what is new: the trials of each study up to the first one that has not begun."""
        since: dict[str, float] = {}  # running cell -> Unix time of its start
        for state in read_states(self.store):
            if state.is_alive():
                since |= {job.cell: job.since for job in state.running}
        for study in self._read():
            numbers = self.trials[study.id]
            for trial in study.trials:
                number = numbers.get(trial.number)
                if number is not None and number not in self.running:
                    continue
                found = self._found(study, trial, since)
                if number is not None:
                    self._end(number, found)
                elif found is None:
                    break
                else:
                    numbers[trial.number] = self._begin(study, found)

    def _read(self) -> Iterator[StudyFile]:
        """All studies; those are read whose files changed."""
        for name in self.store.study_names():
            changed = self.store.study_path(name).stat().st_mtime_ns
            before, _ = self.studies.get(name, (0, None))
            if changed != before:
                content = self.store.readable(self.store.study_path(name), StudyFile)
                if content is not None:
                    self.studies[name] = changed, content
        for _, study in self.studies.values():
            yield study

    def _begin(self, study: StudyFile, found: FrozenTrial) -> int:
        """Append a trial; returns its number in the journal."""
        if study.id not in self.names:
            self.names[study.id] = self._new_study(study)
        number = self.storage.create_new_trial(self.names[study.id], found)
        if found.state is TrialState.RUNNING:
            self.running.add(number)
        return number

    def _end(self, number: int, found: FrozenTrial | None) -> None:
        """Append how a trial ended, if it has."""
        if found is not None and found.state is not TrialState.RUNNING:
            for epoch, value in found.intermediate_values.items():
                self.storage.set_trial_intermediate_value(number, epoch, value)
            self.storage.set_trial_state_values(number, found.state, found.values)
            self.running.discard(number)

    def _new_study(self, study: StudyFile) -> int:
        """Create a study under a name that people read; returns its number in the journal."""
        method = self.store.catalog.methods.get(study.method)
        reading = [f"{factor} {value}" for factor, value in study.reading.items()]
        parts = [study.task, method.label if method else study.method, *reading, f"search {study.search}"]
        if " · ".join(parts) in [there.study_name for there in self.storage.get_all_studies()]:
            parts.append(study.id[:8])  # it differs in the model, the budget or another setting
        name = " · ".join(parts)
        created = optuna.create_study(storage=self.storage, study_name=name, direction="maximize")
        created.set_metric_names(["val/top1"])
        return self.storage.get_study_id_from_name(name)

    def _found(self, study: StudyFile, trial: Trial, since: Mapping[str, float]) -> FrozenTrial | None:
        """The trial as it is now; None before it begins. Epochs count from 1."""
        value, validated, began, ended = None, dict[int, float](), None, None
        if trial.status == "pruned":
            state, value = TrialState.PRUNED, trial.validated[-1]
            validated = dict(enumerate(trial.validated, start=1))
        elif self.store.is_done(trial.cell):
            record = self.store.read(trial.cell)
            state, value = TrialState.COMPLETE, record.metrics["val/top1"]
            validated = dict(enumerate(validated_epochs(self.store, trial.cell), start=1))
            ended = datetime.fromisoformat(record.finished_at)
            seconds = record.durations.get("train", 0.0) + record.durations.get("validate", 0.0)
            began = ended - timedelta(seconds=seconds)
        elif trial.cell in since:
            state, began = TrialState.RUNNING, datetime.fromtimestamp(since[trial.cell], UTC)
        elif trial.status == "failed":
            state = TrialState.FAIL
        else:
            return None
        ranges: dict[str, BaseDistribution] = {}
        for name, tried in trial.parameters.items():
            low, high, _ = study.space[name]
            ranges[name] = FloatDistribution(min(low, tried), max(high, tried), log=True)
        found = create_trial(
            state=state,
            value=value,
            params=dict(trial.parameters),
            distributions=ranges,
            intermediate_values=validated,
            user_attrs={"cell": trial.cell},
        )
        if began is not None:
            found.datetime_start, found.datetime_complete = began, ended
        return found
