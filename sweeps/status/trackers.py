"""Shows a sweep in experiment trackers, by one process that reads records.

    events/tensorboard/<task>/<method>/<cell>/    event files of TensorBoard
    events/wandb/                                 runs of Weights & Biases
    events/mlflow.db                              runs of MLflow, unless MLFLOW_TRACKING_URI names another place
    events/<tracker>.sent                         cells that a tracker has; without the file it gets all again
    events/trackers.log, .lock                    what the process prints; held by it
    events/finished                               what the sweep tells the process: id and kind of job of each cell
    optuna.journal                                see sweeps.status.optuna_journal

All of it can be removed at any time. ``python -m sweeps.status.trackers FOLDER SWEEP TRACKER...`` shows the cells of
``events/finished`` until the sweep that started it ends. SWEEP names the sweep; runs are grouped by it.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from carft.config.cell import Cell
from carft.core.errors import unknown
from carft.core.files import locked, new_folder
from carft.store.records import Store

EVENTS, FINISHED = "events", "finished"
#: last line of the file of finished cells, and seconds between two looks at it
END, POLL_S = "end", 0.5
#: seconds that the process waits for that of an earlier sweep
PATIENCE_S = 60.0
#: what no name in MLflow may hold
MLFLOW_NAME = re.compile(r"[^\w./ :-]")


@dataclass(frozen=True)
class Run:
    """A finished cell as trackers show it. Values that are not finite are left out."""

    cell: Cell
    sweep: str
    stage: str
    """Kind of the job that made it, such as ``search`` or ``confirm``."""
    rows: list[tuple[int, dict[str, float]]]
    """(step, name -> value) of its training, and last ``final/<metric>``; of held-out sets only where they are open."""

    @property
    def name(self) -> str:
        """What a list of runs shows."""
        return f"{self.cell.task} {self.cell.method} {self.cell.id[:8]}"

    @property
    def settings(self) -> dict[str, bool | float | str]:
        """The settings by name, such as ``hyperparameters.lr``; weights without their path."""
        spec = {"cell": self.cell.id, "sweep": self.sweep, "stage": self.stage, **self.cell.record_form()}
        return dict(_flat(spec))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool | float | str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            yield f"{prefix}{name}", value
        else:
            yield f"{prefix}{name}", json.dumps(value)


def run_of(store: Store, cell: str, sweep: str, stage: str) -> Run:
    """The run of a finished cell. Arguments as of :class:`Run`."""
    history = store.history(cell)
    rows: list[tuple[int, dict[str, float]]] = []
    for number, step in enumerate(history.pop("step", ())):
        values = {name: float(column[number]) for name, column in history.items()}
        rows.append((int(step), _finite(values)))
    finals = {f"final/{name}": value for name, value in store.metrics(cell).items() if name not in history}
    rows.append((rows[-1][0] if rows else 0, _finite(finals)))
    return Run(store.read(cell).cell, sweep, stage, rows)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


def to_tensorboard(run: Run, folder: Path) -> None:
    """Write event files. folder: ``events`` of the results folder, here and below."""
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    target = folder / "tensorboard" / re.sub(r"[^\w-]", "-", run.cell.task) / run.cell.method / run.cell.id
    if target.is_dir():  # of a process that was killed before it noted that
        return
    _, finals = run.rows[-1]
    with new_folder(target) as part, SummaryWriter(str(part)) as writer:
        for summary in hparams(run.settings, finals):  # for the table of its HPARAMS page
            writer.file_writer.add_summary(summary)
        for step, row in run.rows:
            for name, value in row.items():
                writer.add_scalar(name, value, step)


def to_wandb(run: Run, folder: Path) -> None:
    """Write a run of the project that WANDB_PROJECT names; with WANDB_MODE=offline into files below the folder."""
    import wandb

    shown = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "carft"),
        group=run.sweep,
        job_type=run.stage,
        name=run.name,
        config=run.settings,
        dir=os.environ.get("WANDB_DIR", str(folder)),
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
    )
    *rows, (_, finals) = run.rows
    for step, row in rows:
        shown.log(row, step=step)
    shown.summary.update(finals)
    shown.finish()


def to_mlflow(run: Run, folder: Path) -> None:
    """Write a run of the experiment MLFLOW_EXPERIMENT_NAME, to the server or the file of MLFLOW_TRACKING_URI."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "carft")
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name)
    shown = client.create_run(number, run_name=run.name, tags={"sweep": run.sweep, "cell": run.cell.id})
    params = [Param(MLFLOW_NAME.sub("-", setting), str(value)) for setting, value in run.settings.items()]
    client.log_batch(shown.info.run_id, params=params)
    for step, row in run.rows:
        metrics = [
            Metric(MLFLOW_NAME.sub("-", name), value, shown.info.start_time, step) for name, value in row.items()
        ]
        client.log_batch(shown.info.run_id, metrics=metrics)
    client.set_terminated(shown.info.run_id)


@dataclass(frozen=True)
class Tracker:
    """What a tracker needs."""

    module: str
    """What it imports."""
    shown_by: str
    """What shows its runs, with ``{results}`` for the folder."""
    send: Callable[[Run, Path], None] | None = None
    """None for the journal of Optuna."""


TRACKERS: Mapping[str, Tracker] = {
    "tensorboard": Tracker("tensorboardX", "tensorboard --logdir {results}/events/tensorboard", to_tensorboard),
    "wandb": Tracker("wandb", "the page of your project, or wandb sync {results}/events/wandb/offline-run-*", to_wandb),
    "mlflow": Tracker(
        "mlflow",
        "the server of MLFLOW_TRACKING_URI, or mlflow ui --backend-store-uri sqlite:///{results}/events/mlflow.db",
        to_mlflow,
    ),
    "optuna": Tracker("optuna", "optuna-dashboard {results}/optuna.journal"),
}


def require_trackers(names: Iterable[str]) -> None:
    """Raise ``UserError`` for an unknown tracker, ``ModuleNotFoundError`` for one whose package is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        module = TRACKERS[name].module
        found = find_spec(module)
        if found is None or found.origin is None:  # a folder of that name, which wandb leaves where it runs, is none
            raise ModuleNotFoundError(f"No module named '{module}'", name=module)


def show(store: Store, sweep: str, names: Iterable[str], lines: Iterable[str]) -> list[str]:
    """Send finished cells to trackers as they come, each once. lines: id and kind of job.

    Returns a sentence for each tracker whose client raised an error; it gets no further cells.
    """
    left, failed = list(names), []
    folder = store.root / EVENTS
    sent: dict[str, set[str]] = {}
    for name in left:
        file = folder / f"{name}.sent"
        sent[name] = set(file.read_text(encoding="utf-8").split()) if file.is_file() else set()
    journal = None
    if "optuna" in left:
        from sweeps.status.optuna_journal import OptunaJournal

        journal = OptunaJournal(store)
    for line in lines:
        cell, stage = line.split()
        for name in [*left]:
            try:
                send = TRACKERS[name].send
                if send is None:
                    assert journal is not None
                    journal.append(cell)
                elif cell not in sent[name]:
                    send(run_of(store, cell, sweep, stage), folder)
                    with (folder / f"{name}.sent").open("a", encoding="utf-8") as known:
                        known.write(f"{cell}\n")
            except Exception as error:  # whatever a client raises
                traceback.print_exc()
                failed.append(f"{name}: {error}")
                left.remove(name)
        if not left:
            return failed
    if journal is not None and "optuna" in left:
        journal.read_studies()
    return failed


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a growing file up to :data:`END`, or to its end once the process that started this one is gone."""
    parent = os.getppid()
    with path.open(encoding="utf-8") as file:
        line = ""
        while True:
            line += file.readline()
            if line.rstrip() == END:
                return
            if line.endswith("\n"):
                yield line
                line = ""
            elif os.getppid() != parent:
                return
            else:
                time.sleep(POLL_S)


def main(folder: str, sweep: str, *names: str) -> None:
    """Show what finishes until the sweep ends. The exit code is 1 if a tracker failed; the last line says why."""
    store = Store(folder)
    with locked(store.root / EVENTS / "trackers.lock", PATIENCE_S):
        failed = show(store, sweep, names, lines_of(store.root / EVENTS / FINISHED))
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
