"""A job that waits after each validated epoch, in its thread."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.store.records import Store
from carft.training import preemption
from carft.training.checkpoint import Checkpoints
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.preemption import Pruned, ending_when, tell_epochs, told_after_epochs
from carft.training.run import compute
from sweeps.ray_backend.epochs import EpochSteps
from sweeps.ray_backend.jobs import payload_of
from sweeps.ray_backend.trainable import CellActor
from sweeps.search.jobs import Job
from tests.support.dry import PREDICTIONS
from tests.support.helpers import LR, made_up_record, quick_cell

CELL = quick_cell("ft", epochs=3, lr=LR)


def test_a_training_tells_its_epochs_and_one_that_is_pruned_leaves_no_checkpoint(
    bench: CellContext, tmp_path: Path
) -> None:
    told = list[list[float]]()
    with told_after_epochs(lambda values: told.append(list(values))):
        whole = compute(CELL, bench)
    validated = [row["val/top1"] for row in whole.history if "val/top1" in row]
    assert told == [validated[:1], validated[:2]] and len(validated) == 3

    def prune(values: object) -> None:
        raise Pruned

    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", every=1)
    with pytest.raises(Pruned), told_after_epochs(prune):
        compute(CELL, bench, checkpoints)
    assert not checkpoints.path.exists()


def job(must_end: Callable[[], bool]) -> dict[str, Any]:
    for epoch in range(1, 4):
        if must_end():
            raise SystemExit(128 + signal.SIGTERM)
        tell_epochs([0.1] * epoch)
    return {"failure": ""}


def test_a_job_goes_on_after_each_epoch_to_its_result() -> None:
    steps = EpochSteps(job)
    assert [steps.step() for _ in range(4)] == [[0.1], [0.1] * 2, [0.1] * 3, {"failure": ""}]


def test_tune_is_shown_what_selects_and_what_it_cost(store: Store) -> None:
    actor = CellActor.__new__(CellActor)
    actor.message = payload_of(Job("search", CELL), str(store.root), Execution(), BUILT_IN)
    store.write(made_up_record(CELL, {"val/top1": 0.5, "val/loss": 1.0, "val/context_top1": 0.2}), [], PREDICTIONS)
    assert actor._shown(store).keys() == {"val/top1", "val/loss", "epochs", "seconds"}
    actor.message = payload_of(Job("curve", CELL), str(store.root), Execution(), BUILT_IN)
    assert not actor._shown(store)


def test_a_job_that_is_closed_is_pruned_where_it_waits(capsys: pytest.CaptureFixture[str]) -> None:
    ended = list[str]()

    def guarded(must_end: Callable[[], bool]) -> dict[str, Any]:
        try:
            return job(must_end)
        finally:
            ended.append("guards are gone")

    steps = EpochSteps(guarded)
    assert steps.step() == [0.1] and not ended
    steps.close()
    assert ended and "pruned after epoch 1" in capsys.readouterr().out


def test_a_job_that_waits_goes_on_to_a_checkpoint_when_its_sweep_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ending, ended = list[bool](), list[bool]()
    monkeypatch.setattr(preemption, "ASK_S", 0.01)

    def stopped(must_end: Callable[[], bool]) -> dict[str, Any]:
        with ending_when(lambda: bool(ending)):
            tell_epochs([0.1])
            ended.append(preemption.is_ending())
        raise SystemExit

    steps = EpochSteps(stopped)
    assert steps.step() == [0.1] and not ended
    ending.append(True)
    steps._thread.join()
    assert ended == [True]


def test_sigterm_reaches_a_job_in_its_thread_and_then_the_process() -> None:
    arrived = list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))

    def killed(must_end: Callable[[], bool]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        while not must_end():
            pass
        return job(must_end)

    try:
        with pytest.raises(SystemExit):
            EpochSteps(killed).step()
        assert arrived == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
