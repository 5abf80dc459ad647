"""Cells as TensorBoard, Weights & Biases, MLflow and Optuna see them while a sweep runs."""

from __future__ import annotations

import os
import shutil
import struct
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from carft.config.cell import Cell
from carft.store.records import Store
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol
from sweeps.status import live, trackers
from sweeps.status.optuna_journal import JOURNAL, OptunaJournal
from sweeps.status.trackers import EVENTS
from tests.support.helpers import ROOT, run_cli
from tests.support.serial import run_jobs, run_serially
from tests.support.tracking import HANGS, REFUSES, told, write_client
from tests.sweeps.search.test_protocol import TASKS, Crew
from tests.sweeps.status.test_status import Watched, small

TINY = ("miniature", "--smoke", "--tasks", "icons-3/mix-7", "--methods", "zeroshot,ft", "--trials", 1, "--seeds", 1)


@pytest.fixture
def results(finished: Store, tmp_path: Path) -> Store:
    """Cells of three methods, evaluated on test set and suites; zero-shot was not trained."""
    shutil.copytree(finished.root, tmp_path / "results")
    return Store(tmp_path / "results")


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path of this process and of those that it starts."""
    folder = tmp_path / "clients"
    folder.mkdir()
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(ROOT))))
    monkeypatch.syspath_prepend(folder)
    for module in ("wandb", "mlflow", "mlflow.entities"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    yield folder
    for module in ("wandb", "mlflow", "mlflow.entities"):  # the stand-ins; then monkeypatch restores what was there
        sys.modules.pop(module, None)


def events_in(folder: Path) -> Iterator[Event]:
    """The events of TensorBoard's files: length, checksum, message, checksum."""
    for path in folder.glob("events.out.tfevents.*"):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack("<Q", content[place : place + 8])
            yield Event.FromString(content[place + 12 : place + 12 + length])
            place += 16 + length


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """(name, step) -> value."""
    found = {}
    for event in events_in(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found[value.tag, event.step] = value.simple_value
    return found


def parameters(folder: Path) -> dict[str, Any]:
    """The row of a run in the table of TensorBoard's HPARAMS page."""
    found: dict[str, Any] = {}
    for event in events_in(folder):
        for value in event.summary.value:
            if value.tag == "_hparams_/session_start_info":
                data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                for name, one in data.session_start_info.hparams.items():
                    found[name] = getattr(one, one.WhichOneof("kind"))
    return found


def show(store: Store, *names: str, lines: Iterable[str] = ()) -> None:
    """What the process of the trackers does with these cells, by default all of the folder."""
    (store.root / EVENTS).mkdir(exist_ok=True)
    every = [f"{cell} confirm\n" for cell in store.ids()]
    assert trackers.show(store, store.root.name, names, lines or every) == []


def test_tensorboard_has_history_final_metrics_and_settings(results: Store, cells: dict[str, Cell]) -> None:
    show(results, "tensorboard")
    folder, cell = results.root / "events" / "tensorboard" / "icons-3-mix-7", cells["car_ft"]
    seen, history = scalars(folder / "car_ft" / cell.id), results.history(cell.id)
    for name in ("train/loss", "train/kl", "lr"):
        for step, value in zip(history["step"], history[name], strict=True):
            assert seen[name, int(step)] == pytest.approx(value, rel=1e-6)
    last = int(history["step"][-1])
    assert seen["final/test/top1", last] == pytest.approx(results.metrics(cell.id)["test/top1"])
    shown = parameters(folder / "car_ft" / cell.id)
    assert shown["method"] == "car_ft" and shown["seed"] == cell.seed and shown["sweep"] == "results"
    assert shown["hyperparameters.lr"] == pytest.approx(cell.hyperparameters["lr"])
    untrained = scalars(folder / "zeroshot" / cells["zeroshot"].id)
    assert ("final/val/top1", 0) in untrained
    shutil.rmtree(results.root / EVENTS / "tensorboard")
    show(results, "tensorboard")
    assert not (results.root / EVENTS / "tensorboard").exists()  # what was sent is not sent again


def test_wandb_gets_one_run_a_cell(results: Store, cells: dict[str, Cell], clients: Path, tmp_path: Path) -> None:
    write_client(clients, "wandb")
    show(results, "wandb")
    runs: dict[str, list[Any]] = defaultdict(list)
    for kind, name, *rest in told(tmp_path / "told"):
        runs[name].append((kind, *rest))
    cell = cells["car_ft"]
    (_, given), *rows, (_, finals), (last,) = runs[f"icons-3/mix-7 car_ft {cell.id[:8]}"]
    assert len(runs) == 3 and last == "finish"
    assert given["group"] == "results" and given["project"] == "carft" and given["job_type"] == "confirm"
    assert given["config"]["hyperparameters.lr"] == cell.hyperparameters["lr"]
    history = results.history(cell.id)
    assert [step for _, _, step in rows] == [int(step) for step in history["step"]]
    assert [row["train/loss"] for _, row, _ in rows] == pytest.approx(list(history["train/loss"]))
    assert finals["final/test/top1"] == results.metrics(cell.id)["test/top1"]


def test_mlflow_gets_one_run_a_cell(
    results: Store, cells: dict[str, Cell], clients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracked")
    write_client(clients, "mlflow")
    show(results, "mlflow")
    cell, metrics, settings = cells["ft"], [], []
    for kind, name, *rest in told(tmp_path / "told"):
        if name == f"icons-3/mix-7 ft {cell.id[:8]}" and kind == "batch":
            metrics += rest[0]
            settings += rest[1]
        if kind == "run":
            assert rest[0]["sweep"] == "results" and rest[1] == "http://tracked"
    assert ["method", "ft"] in settings and ["cell", cell.id] in settings
    history = results.history(cell.id)
    losses = [value for name, value, _, _ in metrics if name == "train/loss"]
    assert losses == pytest.approx(list(history["train/loss"]))
    assert ["final/test/top1", results.metrics(cell.id)["test/top1"], 5, int(history["step"][-1])] in metrics
    show(results, "mlflow")
    assert sum(kind == "run" for kind, *_ in told(tmp_path / "told")) == 3  # every cell once


def test_a_held_out_set_is_shown_only_where_it_is_open(store: Store) -> None:
    protocol = Protocol(small(methods=["zeroshot", "ft", "wise_ft"]), store)
    crew = Crew(store).work(protocol)
    protocol.write_studies()
    show(store, "tensorboard", lines=[f"{cell} {protocol.jobs[cell].kind}" for cell in protocol.done])
    stages = set()
    for job in crew.finished:
        for cell in job.cells():
            folder = store.root / EVENTS / "tensorboard" / cell.task.replace("/", "-") / cell.method / cell.id
            stage = str(parameters(folder)["stage"])
            shown = {name for name, _ in scalars(folder)}
            assert (stage == "search") == (job.kind == "search") == ("final/test/top1" not in shown)
            stages.add((job.kind, stage))
    assert stages == {("search", "search"), ("confirm", "confirm"), ("curve", "curve")}


@pytest.mark.parametrize("command", [("sweep", *TINY), ("plan", *TINY)])
def test_a_package_that_is_missing_is_named_before_anything_starts(
    tmp_path: Path, command: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("wandb") is not None:
        pytest.skip("wandb is installed")
    (tmp_path / "wandb").mkdir()  # as wandb leaves it where it runs
    monkeypatch.syspath_prepend(tmp_path)
    done = run_cli(*command, "--log", "wandb", "--results", tmp_path / "results", in_process=True)
    assert done.returncode == 2 and "pip install 'carft[wandb]'" in done.stderr
    assert not (tmp_path / "results").exists()
    done = run_cli(*command, "--log", "wandbb", "--results", tmp_path / "results", in_process=True)
    assert done.returncode == 2 and "Did you mean wandb?" in done.stderr


@pytest.mark.slow
def test_a_tracker_that_fails_stops_no_sweep(tmp_path: Path, clients: Path) -> None:
    write_client(clients, "wandb", REFUSES)
    command = ("sweep", *TINY, "--results", tmp_path / "results", "--log", "tensorboard", "--log", "wandb")
    done = run_serially(*command)
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("Warning:")]
    assert "no key is set" in warning and "the same command shows what is missing" in warning
    store = Store(tmp_path / "results")
    runs = {path.name for path in (store.root / EVENTS / "tensorboard").glob("*/*/*")}
    assert runs == set(store.ids())
    shutil.rmtree(clients / "wandb")
    write_client(clients, "wandb")
    assert run_serially(*command).returncode == 0  # nothing is left to run: what is missing is sent
    assert len([name for kind, name, *_ in told(tmp_path / "told") if kind == "finish"]) == len(store.ids())


def test_a_tracker_that_hangs_does_not_block_the_sweep(
    store: Store, clients: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_client(clients, "wandb", HANGS)
    monkeypatch.setattr(live, "WAIT_S", 1.0)
    protocol = Protocol(small(), store)
    Crew(store).work(protocol)
    said: list[str] = []
    started = live.LiveTrackers(["wandb"], store, said.append)
    for _ in range(3):
        started.update(protocol)
    assert started.told == len(protocol.done) and not said
    started.close(stopped=False)
    assert len(said) == 1 and "they did not take all cells in time" in said[0]


def journal_of(store: Store) -> dict[str, list[FrozenTrial]]:
    """Study -> its trials, as optuna-dashboard reads them."""
    storage = JournalStorage(JournalFileBackend(str(store.root / JOURNAL)))
    return {study.study_name: storage.get_all_trials(study._study_id) for study in storage.get_all_studies()}


def test_optuna_sees_how_trials_end(store: Store) -> None:
    sweep = Watched(store, small(methods=["ft"], tasks=TASKS[:1], trials=3))
    sweep.protocol.write_studies()
    journal = OptunaJournal(store)
    first = sweep.start()
    sweep.end()
    journal.append(first.cell.id)
    name = f"{TASKS[0]} · FT · search 1"
    (done,) = journal_of(store)[name]
    assert done.state is TrialState.COMPLETE and done.params == dict(first.cell.hyperparameters)
    assert done.value == store.read(first.cell.id).metrics["val/top1"]
    assert done.user_attrs == {"cell": first.cell.id, "trial": 0}
    sweep.start()
    sweep.end("it broke")
    sweep.finish()
    sweep.protocol.write_studies()
    for _ in range(2):  # the second process writes the journal anew
        for cell in sweep.protocol.done:
            journal.append(cell)
        states = [trial.state for trial in journal_of(store)[name]]
        assert sorted(states) == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
        journal = OptunaJournal(store)


def test_optuna_has_the_validation_metric_of_each_epoch_and_true_times(tmp_path: Path) -> None:
    recipe = load_recipe("miniature").smoked().changed(["icons-3/mix-7"], ["ft"], 2, 1, training={"epochs": 3})
    store = Store(tmp_path / "results")
    run_jobs(recipe, store)
    show(store, "optuna")
    ((_, trials),) = journal_of(store).items()
    assert len(trials) == 2
    for trial in trials:
        record, history = store.read(trial.user_attrs["cell"]), store.history(trial.user_attrs["cell"])
        measured = history["val/top1"][np.isfinite(history["val/top1"])]
        assert list(trial.intermediate_values) == [1, 2, 3]
        assert list(trial.intermediate_values.values()) == pytest.approx(list(measured))
        assert trial.value == record.metrics["val/top1"] and trial.datetime_complete is not None
        assert trial.datetime_complete.timestamp() == datetime.fromisoformat(record.finished_at).timestamp()
        assert trial.duration is not None and 0 < trial.duration.total_seconds() <= sum(record.durations.values())
