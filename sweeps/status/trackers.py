"""Sends finished cells to experiment trackers: a run for each, with its settings, curves and final metrics.

    events/tensorboard/<task>/<method>/<cell>/    event files of TensorBoard
    events/wandb/                                 runs of Weights & Biases
    events/mlflow.db                              runs of MLflow, unless MLFLOW_TRACKING_URI names another place
    events/<tracker>-<place>.sent                 the cells that a tracker has
    events/<tracker>-<place>.lock                 held by the process that sends a cell

The folder can be removed at any time. Ray's own callbacks make a run of each job, not of each cell: a job has one
result, without curves, and an interpolation curve is one job.

``python -m sweeps.status.trackers TRACKER FOLDER SWEEP`` sends the cells whose ids it reads, a line each.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
import traceback
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from carft import NUMERICS
from carft.config.cell import Cell, stable_hash
from carft.core.errors import UserError, unknown
from carft.core.failure_kinds import reason_of
from carft.core.files import locked, new_folder
from carft.store.record_files import Record
from carft.store.records import Store

EVENTS = "events"
#: seconds that a process waits for another one that sends a cell to the same tracker
PATIENCE_S = 60.0
#: what MLflow takes in one request, and what no name in it may hold
MLFLOW_BATCH, MLFLOW_NAME = 1000, re.compile(r"[^\w./ :-]")


@dataclass(frozen=True)
class Run:
    """A cell as trackers show it."""

    cell: Cell
    sweep: str
    """Name of the results folder; runs are grouped by it."""
    stage: str
    """``untrained``, ``search``, ``grid``, ``confirm`` or ``combined``; ``single`` outside a search."""
    rows: list[tuple[int, dict[str, float]]]
    """(step, name -> value) of its training; empty for a cell that was not trained."""
    finals: dict[str, float]
    """``final/<metric>`` -> value; of held-out sets only where they are open."""

    @property
    def name(self) -> str:
        """What a list of runs shows."""
        return f"{self.cell.task} {self.cell.method} {self.cell.id[:8]}"

    @property
    def last_step(self) -> int:
        """The step of the final metrics."""
        return self.rows[-1][0] if self.rows else 0

    @property
    def parameters(self) -> dict[str, bool | float | str]:
        """The settings by name, such as ``hyperparameters.lr``; weights without their path."""
        spec = {"cell": self.cell.id, "sweep": self.sweep, "stage": self.stage, **self.cell.record_form()}
        return _flat(spec)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, bool | float | str]:
    flat: dict[str, bool | float | str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            flat[f"{prefix}{name}"] = value
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat


class Stages:
    """The part that each cell has in the searches of a results folder."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.known: dict[str, str] = {}
        self.studies: dict[tuple[str, str], set[str]] = defaultdict(set)
        """(task, method) -> ids of the studies that were read."""
        self._read(store.study_names())

    def of(self, cell: Cell) -> str:
        """As :attr:`Run.stage`. Reads the studies of its task and method again, and new ones, for a cell that it does
        not know."""
        if cell.parents:
            return "combined"
        if not cell.hyperparameters:
            return "untrained"
        if cell.id not in self.known:
            self._read(list(self.studies[cell.task, cell.method]))
        if cell.id not in self.known:
            self._read(set(self.store.study_names()).difference(*self.studies.values()))
        return self.known.setdefault(cell.id, "single")

    def _read(self, names: Iterable[str]) -> None:
        for name in names:
            study = self.store.study(name)
            if study is not None:
                self.studies[study.task, study.method].add(name)
                self.known |= dict.fromkeys(study.trial_cells, "search")
                self.known |= dict.fromkeys(study.grid, "grid")
                self.known |= dict.fromkeys(study.confirm, "confirm")


def run_of(store: Store, record: Record, sweep: str, stage: str) -> Run:
    """A finished cell as a run, without values that are not finite."""
    history = store.history(record.id)
    steps = history.pop("step", np.zeros(0))
    rows: list[tuple[int, dict[str, float]]] = []
    if np.isfinite(steps).all():
        for number, step in enumerate(steps):
            row: dict[str, float] = {}
            for name, values in history.items():
                if math.isfinite(values[number]):
                    row[name] = float(values[number])
            rows.append((int(step), row))
    finals: dict[str, float] = {}
    for name, value in store.metrics(record.id).items():
        if name not in history and math.isfinite(value):
            finals[f"final/{name}"] = value
    return Run(record.cell, sweep, stage, rows, finals)


class Tracker(ABC):
    """Writes runs to one experiment tracker. A file in ``folder`` lists the cells that were sent.

    folder: ``events`` of the results folder. sweep: as :attr:`Run.sweep`.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    """What it imports."""

    def __init__(self, folder: Path, sweep: str) -> None:
        self.folder, self.sweep = folder, sweep
        folder.mkdir(parents=True, exist_ok=True)
        self._list = folder / f"{self.name}-{stable_hash(self.place)}.sent"
        self._sent: set[str] = set()
        self._read_to = 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of this tracker: the process of an earlier sweep, or `results events`, may send too.

        Raises ``UserError`` when another process sends one cell for :data:`PATIENCE_S`.
        """
        lock = self._list.with_suffix(".lock")
        with ExitStack() as held:
            try:
                held.enter_context(locked(lock, PATIENCE_S))
            except TimeoutError as error:
                raise UserError(
                    f"Another process sends cells to {self.name}, and does not go on.",
                    f"End the process that holds '{lock}', and run the command again.",
                ) from error
            self._read_sent()
            yield

    def _read_sent(self) -> None:
        """Read what was added to the list of cells that were sent."""
        if self._list.is_file():
            with self._list.open("rb") as sent:
                sent.seek(self._read_to)
                added = sent.read()
            self._read_to += len(added)
            self._sent |= set(added.decode().split())

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the runs go."""

    @property
    @abstractmethod
    def shown_by(self) -> str:
        """The command that shows the runs."""

    @abstractmethod
    def write(self, run: Run) -> None:
        """Write a whole run."""

    def has(self, cell: Cell) -> bool:
        """Whether the cell was sent before. Call it within :meth:`alone`."""
        return cell.id in self._sent

    def send(self, run: Run) -> None:
        """Write a run and note that; ``UserError`` when the tracker does not take it. Call it within :meth:`alone`."""
        try:
            self.write(run)
        except Exception as error:  # of a client or its service, which may raise anything
            words = f"{self.name} does not take cell {run.cell.id}: {' '.join(reason_of(error).split())}"
            raise UserError(words, "Records are not touched.") from error
        with self._list.open("a", encoding="utf-8") as sent:
            sent.write(f"{run.cell.id}\n")


class TensorBoard(Tracker):
    """Event files, a folder for each cell."""

    name, module = "tensorboard", "tensorboardX"

    @property
    def place(self) -> str:
        return str(self.folder / self.name)

    @property
    def shown_by(self) -> str:
        return f"tensorboard --logdir {shlex.quote(self.place)}"

    def has(self, cell: Cell) -> bool:
        return self._folder(cell).is_dir()

    def _folder(self, cell: Cell) -> Path:
        return self.folder / self.name / re.sub(r"[^\w-]", "-", cell.task) / cell.method / cell.id

    def write(self, run: Run) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        with new_folder(self._folder(run.cell)) as part, SummaryWriter(str(part)) as writer:
            writer.add_text("cell", f"```\n{json.dumps(run.parameters, indent=1)}\n```")
            for summary in hparams(run.parameters, run.finals):  # for the table of its HPARAMS page
                writer.file_writer.add_summary(summary)
            for step, row in run.rows:
                for name, value in row.items():
                    writer.add_scalar(name, value, step)
            for name, value in run.finals.items():
                writer.add_scalar(name, value, run.last_step)


class WeightsAndBiases(Tracker):
    """Runs of the project that WANDB_PROJECT names; with WANDB_MODE=offline in files below the results folder."""

    name = module = "wandb"

    @property
    def place(self) -> str:
        service, entity = os.environ.get("WANDB_BASE_URL", ""), os.environ.get("WANDB_ENTITY", "")
        return " ".join((service, entity, os.environ.get("WANDB_PROJECT", "carft")))

    @property
    def shown_by(self) -> str:
        if os.environ.get("WANDB_MODE") == "offline":
            return f"wandb sync {shlex.quote(str(Path(self.runs) / 'wandb'))}/offline-run-*"
        return "the page of your project"

    @property
    def runs(self) -> str:
        """The folder of what a run writes on this machine."""
        return os.environ.get("WANDB_DIR", str(self.folder))

    def write(self, run: Run) -> None:
        import wandb

        shown = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "carft"),
            group=os.environ.get("WANDB_RUN_GROUP", run.sweep),
            job_type=run.stage,
            name=run.name,
            config=run.parameters,
            dir=self.runs,
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
        for step, row in run.rows:
            shown.log(row, step=step)
        shown.summary.update(run.finals)
        shown.finish()


class MLflow(Tracker):
    """Runs of the experiment that MLFLOW_EXPERIMENT_NAME names, on the server or in the file of MLFLOW_TRACKING_URI."""

    name = module = "mlflow"

    @property
    def uri(self) -> str:
        """Where MLflow keeps the runs."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.folder.resolve() / 'mlflow.db'}"

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return os.environ.get("MLFLOW_EXPERIMENT_NAME", "carft")

    @property
    def place(self) -> str:
        return f"{self.uri} {self.experiment}"

    @property
    def shown_by(self) -> str:
        if self.uri.startswith(("http:", "https:", "databricks")):
            return "the page of your MLflow server"
        return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)}"

    def write(self, run: Run) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        number = experiment.experiment_id if experiment else client.create_experiment(self.experiment)
        shown = client.create_run(number, run_name=run.name, tags={"sweep": run.sweep, "cell": run.cell.id})
        made = shown.info.start_time
        metrics: list[Metric] = []
        for step, row in [*run.rows, (run.last_step, run.finals)]:
            for name, value in row.items():
                metrics.append(Metric(MLFLOW_NAME.sub("-", name), value, made, step))
        parameters = [Param(MLFLOW_NAME.sub("-", name), str(value)) for name, value in run.parameters.items()]
        client.log_batch(shown.info.run_id, params=parameters)
        for start in range(0, len(metrics), MLFLOW_BATCH):
            client.log_batch(shown.info.run_id, metrics=metrics[start : start + MLFLOW_BATCH])
        client.set_terminated(shown.info.run_id)


TRACKERS: Mapping[str, type[Tracker]] = {kind.name: kind for kind in (TensorBoard, WeightsAndBiases, MLflow)}


def require_trackers(names: Iterable[str]) -> None:
    """Raise ``UserError`` for an unknown tracker, ``ModuleNotFoundError`` for one whose package is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        module = TRACKERS[name].module
        found = find_spec(module)
        if found is None or found.origin is None:  # a folder of that name, which wandb leaves where it runs, is none
            raise ModuleNotFoundError(f"No module named '{module}'", name=module)


def tracker_of(store: Store, name: str) -> Tracker:
    """A tracker of a results folder."""
    return TRACKERS[name](store.root / EVENTS, Path(store.address).name)


def send(store: Store, tracker: Tracker, cells: Iterable[str]) -> int:
    """Send the finished cells that a tracker does not have; returns their number.

    Raises ``UserError`` when the tracker does not take one.
    """
    stages, number = Stages(store), 0
    for cell in cells:
        record = store.read(cell)
        if record.numerics != NUMERICS:
            continue
        with tracker.alone():
            if not tracker.has(record.cell):
                tracker.send(run_of(store, record, tracker.sweep, stages.of(record.cell)))
                number += 1
    return number


def _main(name: str, folder: str, sweep: str) -> None:
    store = Store(folder)
    cells = (line.strip() for line in sys.stdin)
    try:
        send(store, TRACKERS[name](store.root / EVENTS, sweep), cells)
    except UserError as error:
        traceback.print_exc()
        print(error.message, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    _main(*sys.argv[1:])
