"""Checkpoints by time and at SIGTERM: written beside the steps, resumed with the same bits, removed when done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from carft.core.errors import Diverged
from carft.store.records import Store
from carft.training import checkpoint, context
from carft.training.checkpoint import Checkpoints, Progress
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.loop import Trainer
from carft.training.preemption import GRACE_S
from carft.training.run import compute, run_cell
from tests.support.cards import ALWAYS, killed_and_resumed, on_noise, require_repeatable, require_same_bits
from tests.support.helpers import LR, quick_cell

CELL = quick_cell("car_ft", epochs=2, lr=LR, kl_weight=1.0)


class Small:
    """A network of two numbers, and its checkpoints."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.network = nn.Linear(2, 1, bias=False)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.1)
        self.progress, self.checkpoints = Progress(), Checkpoints(path, **options)

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.network(torch.ones(2)).sum().backward()
        self.optimizer.step()
        self.progress.history.append({"step": float(self.progress.step)})
        self.progress.step += 1
        if self.checkpoints.is_due(self.progress.step):
            self.checkpoints.save(self.network, self.optimizer, self.progress)

    def weights(self) -> list[float]:
        return self.network.weight.flatten().tolist()


def test_a_checkpoint_holds_the_step_it_was_taken_at_though_steps_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, write = threading.Event(), checkpoint.write_atomic

    def late(*arguments: Any) -> None:
        may_write.wait(600)
        write(*arguments)

    monkeypatch.setattr(checkpoint, "write_atomic", late)
    small = Small(tmp_path / "c.safetensors", minutes=ALWAYS)
    small.step()
    then = small.weights()
    small.checkpoints.since = np.inf  # none is due for a while
    small.step()
    small.progress.history[0]["later"] = 1.0
    assert not small.checkpoints.path.exists() and small.weights() != then
    may_write.set()
    small.checkpoints.wait()
    again = Small(tmp_path / "c.safetensors", minutes=ALWAYS)
    assert again.checkpoints.restore(again.network, again.optimizer) == Progress(1, [{"step": 0.0}])
    assert again.weights() == then


def test_no_checkpoint_is_taken_before_its_time_and_none_without_one(tmp_path: Path) -> None:
    for options in ({"minutes": 1e6}, {"minutes": 0.0}, {"every": 5, "minutes": 1e6}):
        small = Small(tmp_path / "c.safetensors", **options)
        small.step()
        small.checkpoints.wait()
        assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_written_fails_the_cell_at_the_next_one(tmp_path: Path) -> None:
    def gone(folder: Path) -> None:
        raise FileNotFoundError("no longer there")

    small = Small(tmp_path / "c.safetensors", minutes=ALWAYS, make=gone)
    small.step()
    with pytest.raises(FileNotFoundError, match="no longer there"):
        small.step()


def test_a_training_that_is_killed_goes_on_in_the_middle_of_an_epoch_with_the_same_bits(
    bench: CellContext, tmp_path: Path
) -> None:
    resumed, said = killed_and_resumed(CELL, bench, tmp_path, after=7)
    assert said[0] == "goes on after step 7 from a checkpoint"
    require_same_bits(compute(CELL, bench), resumed)


@pytest.mark.slow
def test_a_training_on_noise_is_repeatable_as_it_must_be_on_a_card(tmp_path: Path) -> None:
    cell, context = on_noise("icons-vit", "bfloat16", 8, 2, Execution())
    require_repeatable(cell, context, tmp_path)


@pytest.fixture
def delivered() -> Iterator[list[int]]:
    """The signals that reach this process after a training."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("took_s", [0.0, 2 * GRACE_S])
def test_sigterm_ends_a_training_after_its_step_and_a_checkpoint_that_can_be_written_in_time(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivered: list[int], took_s: float
) -> None:
    cell = quick_cell("ft", epochs=1, lr=LR)
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", minutes=1e6, took_s=took_s)
    update = Trainer.update

    def terminated(self: Trainer, step: int, *rest: Any) -> Any:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        assert step < 2
        return update(self, step, *rest)

    monkeypatch.setattr(Trainer, "update", terminated)
    with pytest.raises(SystemExit):
        compute(cell, bench, checkpoints)
    assert delivered == [signal.SIGTERM] and checkpoints.path.is_file() == (took_s < GRACE_S)
    monkeypatch.setattr(Trainer, "update", update)
    assert compute(cell, bench, checkpoints).history == compute(cell, bench).history


def test_sigterm_ends_a_validation_which_is_repeated_when_the_training_goes_on(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivered: list[int]
) -> None:
    cell = quick_cell("ft", epochs=2, lr=LR)
    plain, forward = compute(cell, bench), context.forward
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", minutes=1e6)

    def terminated(*given: Any) -> Iterator[Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield next(forward(*given))
        raise AssertionError("a second batch was asked for")

    monkeypatch.setattr(context, "forward", terminated)
    with pytest.raises(SystemExit):
        compute(cell, bench, checkpoints)
    monkeypatch.setattr(context, "forward", forward)
    resumed = compute(cell, bench, checkpoints)
    assert delivered == [signal.SIGTERM]
    assert resumed.history == plain.history and resumed.metrics == plain.metrics


def test_cells_that_are_done_or_diverge_leave_no_checkpoint(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = Execution(checkpoint_minutes=ALWAYS)
    written, save = [], Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda *given: (written.append(1), save(*given)))
    run_cell(quick_cell("ft", lr=LR), store, execution)
    done = len(written)
    with pytest.raises(Diverged):
        run_cell(quick_cell("ft", lr=1e38), store, execution)
    assert 0 < done < len(written)
    assert list(store.root.glob("checkpoints/*")) == []
