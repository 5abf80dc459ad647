"""Exports records to TensorBoard event files and an Optuna journal.

    events/tensorboard/<task>/<method>/<cell>/     curves over steps, and the cell's metrics at the last step
    events/optuna.journal                          every study with its trials

carft never reads these files; the folder can be removed at any time.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from carft.core.files import new_folder, write_atomic
from carft.store.failures import failures
from carft.store.record_files import Record
from carft.store.records import Store
from carft.store.study_file import StudyFile

CURVES, JOURNAL = "tensorboard", "optuna.journal"
#: a trial's status in study.json -> Optuna's
STATES = {
    "done": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


def write_events(store: Store) -> tuple[int, int]:
    """Write the curves of new cells, and the journal anew; returns the numbers of cells and of studies."""
    root = store.root / "events"
    (root / CURVES).mkdir(parents=True, exist_ok=True)
    cells = sum(_write_cell(store, record, root / CURVES) for record in store.records())
    return cells, write_atomic(root / JOURNAL, lambda part: _write_journal(store, part))


def _write_cell(store: Store, record: Record, tensorboard: Path) -> bool:
    """Write the curves of a trained cell; returns whether they were new."""
    history = store.history(record.id)
    folder = tensorboard / _folder_name(record.cell.task) / record.cell.method / record.id
    steps = history.get("step", np.zeros(0))
    if not len(steps) or not np.isfinite(steps).all() or folder.is_dir():
        return False
    from tensorboardX import SummaryWriter

    with new_folder(folder) as part, SummaryWriter(str(part)) as writer:
        writer.add_text("cell", f"```\n{json.dumps(record.cell.as_dict(), indent=1)}\n```")
        for name, values in history.items():
            if name != "step":
                for step, value in zip(steps, values, strict=True):
                    if math.isfinite(value):
                        writer.add_scalar(name, value, int(step))
        last = int(steps[-1])
        for name, value in store.metrics(record.id).items():
            if name not in history:
                writer.add_scalar(f"final/{name}", value, last)
    return True


def _folder_name(task: str) -> str:
    """Name of a task as the name of one folder."""
    return re.sub(r"[^\w-]", "-", task)


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
