"""Exports the studies of a results folder, with their trials, to an Optuna journal, ``events/optuna.journal``."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from carft.core.files import write_atomic
from carft.store.failures import failures
from carft.store.records import Store
from carft.store.study_file import StudyFile
from sweeps.status.trackers import EVENTS

JOURNAL = "optuna.journal"
#: a trial's status in study.json -> Optuna's
STATES = {
    "done": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


def write_studies_journal(store: Store) -> int:
    """Write the journal anew; returns the number of studies."""
    folder = store.root / EVENTS
    folder.mkdir(parents=True, exist_ok=True)
    return write_atomic(folder / JOURNAL, lambda part: _write_journal(store, part))


def _write_journal(store: Store, path: Path) -> int:
    """Write all studies to a new journal; returns their number."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    reasons = {failure.cell: failure.reason for failure in failures(store)}
    storage, studies = JournalStorage(JournalFileBackend(str(path))), store.studies()
    for study in studies:
        name = f"{study.task} {study.method} {study.id}"
        exported = optuna.create_study(storage=storage, study_name=name, direction="maximize")
        exported.set_user_attr("winner", study.winner or study.too_few or "none yet")
        exported.add_trials(_trials(store, study, reasons))
    return len(studies)


def _trials(store: Store, study: StudyFile, reasons: Mapping[str, str]) -> Iterable[FrozenTrial]:
    for trial in study.trials:
        state = STATES.get(trial.status, TrialState.WAITING)
        value = None
        if state is TrialState.COMPLETE:
            value = store.read(trial.cell).metrics["val/top1"]
        notes = {"cell": trial.cell}
        if trial.cell in reasons:
            notes["reason"] = reasons[trial.cell]
        ranges: dict[str, BaseDistribution] = {}
        for name, tried in trial.parameters.items():
            low, high, _ = study.space[name]
            # earlier versions may have searched a wider range, which the range of the trial must contain
            ranges[name] = FloatDistribution(min(low, tried), max(high, tried), log=True)
        yield create_trial(
            state=state, value=value, params=dict(trial.parameters), distributions=ranges, user_attrs=notes
        )
