"""Shows a sweep in experiment trackers: a process for each, which reads records.

    events/tensorboard/<task>/<method>/<cell>/    event files of TensorBoard
    events/wandb/                                 runs of Weights & Biases
    events/mlflow.db                              runs of MLflow, unless MLFLOW_TRACKING_URI names another place
    events/<tracker>.log, .lock                   what its process prints; held by the process
    events/<tracker>*.sent                        cells that a tracker has, a file for each place that variables name
    optuna.journal                                see sweeps.status.optuna_journal

All of it can be removed at any time. ``python -m sweeps.status.trackers FOLDER SWEEP TRACKER`` reads finished cells, a
line with id and kind of job each, until its input is closed. SWEEP names the sweep; runs are grouped by it.
"""

from __future__ import annotations

import json
import math
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from carft.config.cell import Cell
from carft.core.errors import unknown
from carft.core.files import locked, new_folder
from carft.core.source import text_digest
from carft.store.records import Store

EVENTS = "events"
#: seconds between two looks at studies, and those that a process waits for that of an earlier sweep
POLL_S, PATIENCE_S = 0.5, 60.0
#: what MLflow takes in one request, and what no name in it may hold
MLFLOW_BATCH, MLFLOW_NAME = 1000, re.compile(r"[^\w./ :-]")


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
        reinit="create_new",
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
    metrics: list[Metric] = []
    for step, row in run.rows:
        for metric, value in row.items():
            metrics.append(Metric(MLFLOW_NAME.sub("-", metric), value, shown.info.start_time, step))
    params = [Param(MLFLOW_NAME.sub("-", setting), str(value)) for setting, value in run.settings.items()]
    client.log_batch(shown.info.run_id, params=params)
    for start in range(0, len(metrics), MLFLOW_BATCH):
        client.log_batch(shown.info.run_id, metrics=metrics[start : start + MLFLOW_BATCH])
    client.set_terminated(shown.info.run_id)


@dataclass(frozen=True)
class Tracker:
    """What a tracker needs."""

    module: str
    """What it imports."""
    shown_by: str
    """The command that shows its runs, with ``{results}`` for the folder."""
    send: Callable[[Run, Path], None] | None = None
    """None for the journal of Optuna."""
    place: tuple[str, ...] = ()
    """Environment variables that say where the runs go."""


TRACKERS: Mapping[str, Tracker] = {
    "tensorboard": Tracker("tensorboardX", "tensorboard --logdir {results}/events/tensorboard", to_tensorboard),
    "wandb": Tracker(
        "wandb",
        "the page of your project, or wandb sync {results}/events/wandb/offline-run-*",
        to_wandb,
        ("WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT"),
    ),
    "mlflow": Tracker(
        "mlflow",
        "mlflow ui --backend-store-uri sqlite:///{results}/events/mlflow.db",
        to_mlflow,
        ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"),
    ),
    "optuna": Tracker("optuna", "optuna-dashboard {results}/optuna.journal"),
}


def shown_by(name: str, results: Path) -> str:
    """What a person does to see the runs of a tracker."""
    place = os.environ.get("MLFLOW_TRACKING_URI")
    if name == "mlflow" and place:
        return place if place.startswith("http") else f"mlflow ui --backend-store-uri {place}"
    return TRACKERS[name].shown_by.format(results=results)


def require_trackers(names: Iterable[str]) -> None:
    """Raise ``UserError`` for an unknown tracker, ``ModuleNotFoundError`` for one whose package is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        module = TRACKERS[name].module
        found = find_spec(module)
        if found is None or found.origin is None:  # a folder of that name, which wandb leaves where it runs, is none
            raise ModuleNotFoundError(f"No module named '{module}'", name=module)


def sent_to(name: str, folder: Path) -> Path:
    """The file of the cells that a tracker has at the place that its variables name."""
    place = [f"{variable}={os.environ[variable]}" for variable in TRACKERS[name].place if os.environ.get(variable)]
    mark = f"-{text_digest(' '.join(place))}" if place else ""  # a place may hold a password
    return folder / f"{name}{mark}.sent"


def show(name: str, store: Store, sweep: str, lines: Iterable[str]) -> None:
    """Send finished cells to a tracker as they come, each once. lines: id and kind of job."""
    send, folder = TRACKERS[name].send, store.root / EVENTS
    assert send is not None
    sent = sent_to(name, folder)
    has = set(sent.read_text(encoding="utf-8").split()) if sent.is_file() else set()
    for line in lines:
        cell, stage = line.split()
        if cell not in has:
            send(run_of(store, cell, sweep, stage), folder)
            with sent.open("a", encoding="utf-8") as file:
                file.write(f"{cell}\n")


def ticks(stream: int) -> Iterator[None]:
    """Yield every :data:`POLL_S` seconds until the end of the input, and once after it."""
    is_open = True
    while is_open:
        time.sleep(POLL_S)
        readable, _, _ = select.select([stream], [], [], 0)
        is_open = not readable or bool(os.read(stream, 2**16))
        yield


def main(folder: str, sweep: str, name: str) -> None:
    """Show what finishes in one tracker, until the input is closed. What its client raises ends the process."""
    store = Store(folder)
    with locked(store.root / EVENTS / f"{name}.lock", PATIENCE_S):
        if TRACKERS[name].send is not None:
            show(name, store, sweep, sys.stdin)
            return
        from sweeps.status.optuna_journal import OptunaJournal

        journal = OptunaJournal(store)
        for _ in ticks(sys.stdin.fileno()):
            journal.update()


if __name__ == "__main__":
    main(*sys.argv[1:])
