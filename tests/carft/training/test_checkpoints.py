"""A training that goes on from a checkpoint, and one on several workers."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.core.errors import Diverged
from carft.methods.linear_probe import logistic_regression
from carft.store.records import Store
from carft.training import checkpoint, context, loop
from carft.training.checkpoint import Checkpoints, TrainingProgress
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.loop import Trainer
from carft.training.run import compute, run_cell
from tests.support.cards import (
    ALWAYS,
    TINY_VIT,
    as_photos,
    killed_and_resumed,
    on_noise,
    require_repeatable,
    require_same_bits,
)
from tests.support.helpers import LR, quick_cell
from tests.support.processes import open_few_images, run_processes

CELL = quick_cell("car_ft", epochs=2, lr=LR, kl_weight=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["carot", "lora", "car_ft_permuted"])
def test_methods_with_parts_of_their_own_resume_with_the_same_bits(
    bench: CellContext, tmp_path: Path, method: str
) -> None:
    """A text tower, a teacher that follows the model, adapters, and a head."""
    guesses = {name: values.first_guess for name, values in BUILT_IN.method(method).space.items()}
    cell = quick_cell(method, **guesses)
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", every=3)
    whole = compute(cell, bench, checkpoints)
    checkpoints.wait()
    assert checkpoints.path.is_file() and len(whole.history) % 3
    resumed = compute(cell, bench, checkpoints)
    assert resumed.history == whole.history
    assert np.array_equal(resumed.predictions.logits, whole.predictions.logits)


class Small:
    """A network of two numbers, and its checkpoints."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.network = nn.Linear(2, 1, bias=False)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.1)
        self.progress, self.checkpoints = TrainingProgress(), Checkpoints(path, **options)

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
    assert again.checkpoints.restore(again.network, again.optimizer) == TrainingProgress(1, [{"step": 0.0}])
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


def test_a_training_on_photos_is_repeatable_as_it_must_be_on_a_card(tmp_path: Path) -> None:
    cell, context = on_noise(TINY_VIT, "bfloat16", 8, 2, Execution(), "flyp")
    require_repeatable(cell, as_photos(context, tmp_path / "photos"), tmp_path)


@pytest.fixture
def delivered() -> Iterator[list[int]]:
    """The signals that reach this process after a training."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def test_sigterm_ends_a_training_after_its_step_and_a_checkpoint(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivered: list[int]
) -> None:
    cell = quick_cell("ft", epochs=1, lr=LR)
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", minutes=1e6)
    update = Trainer.update

    def terminated(self: Trainer, step: int, *rest: Any) -> Any:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        assert step < 2
        return update(self, step, *rest)

    monkeypatch.setattr(Trainer, "update", terminated)
    with pytest.raises(SystemExit):
        compute(cell, bench, checkpoints)
    assert delivered == [signal.SIGTERM] and checkpoints.path.is_file()
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
    assert done == len(store.history(quick_cell("ft", lr=LR).id)["step"]) < len(written)  # one after each step
    assert list(store.root.glob("checkpoints/*")) == []


WORKERS, PARTS, CLASSES = 2, 4, 3
#: KL weight at which the term counts after one step
WEIGHT = 100.0


class Counted(DistributedDataParallel):
    """DistributedDataParallel with a count of the all-reduces of its first bucket, of all of this process."""

    exchanges = 0

    def __init__(self, *given: Any, **options: Any) -> None:
        def count(group, bucket):  # DistributedDataParallel refuses annotations that are strings
            Counted.exchanges += bucket.index() == 0
            return allreduce_hook(dist.group.WORLD, bucket)

        super().__init__(*given, **options)
        self.register_comm_hook(None, count)


def _process(rank: int, asked: list[tuple[dict, int]], folder: str) -> None:
    """Compute cells, each in a number of parts, on one of the workers; solve the probe on its share of the features."""
    loop.DistributedDataParallel = Counted  # type: ignore[misc]
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORKERS)
    found: list[dict] = []
    try:
        for spec, parts in asked:
            execution = Execution(workers=WORKERS, accumulation=parts)
            execution.prepare()
            cell, Counted.exchanges = Cell.from_dict(spec), 0
            made = compute(cell, open_few_images(cell, execution))
            found.append({"exchanges": Counted.exchanges, "history": made.history, "metrics": made.metrics})
        found += [_resumed(rank, Cell.from_dict(asked[0][0]), folder)]
        features, labels = planted()
        mine = slice(rank, None, WORKERS)
        probe = logistic_regression(features[mine], labels[mine], CLASSES, 1e-3)
        torch.save((probe.weight, probe.bias, probe.loss), f"{folder}/{rank}.pt")
        (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    finally:
        dist.destroy_process_group()


def _resumed(rank: int, cell: Cell, folder: str) -> dict:
    """A training that goes on from a checkpoint which only the first worker can read: each has a folder of its own."""
    said: list[str] = []
    context = open_few_images(cell, Execution(workers=WORKERS))
    checkpoints = Checkpoints(Path(folder) / str(rank) / "checkpoint.safetensors", every=1)
    whole = compute(cell, context, checkpoints)
    again = compute(cell, context, checkpoints, said.append)
    weights = torch.cat([value.flatten().float() for value in again.network.state_dict().values()])
    return {"whole": whole.history, "again": again.history, "said": said, "weights": weights.double().sum().item()}


@dataclass(frozen=True)
class OnTwo:
    """What two workers computed, each value a list with one entry a worker."""

    whole: Cell
    whole_found: list[dict]
    uneven: Cell
    uneven_found: list[dict]
    compared: Cell
    compared_found: list[dict]
    resumed: list[dict]
    probes: list[tuple[torch.Tensor, torch.Tensor, float]]


@pytest.fixture(scope="module")
def on_two(bench: CellContext, tmp_path_factory: pytest.TempPathFactory) -> OnTwo:
    """A cell in four parts; cells with an odd batch size and one image left for the last batch; the probe.

    The loss of the third cell compares the images of both workers.
    """
    folder = tmp_path_factory.mktemp("two")
    count = len(bench.task.train)
    size = next(n for n in range(count - 1, 8, -1) if count % n == 1 and n % 2)
    whole, uneven = quick_cell("car_ft", lr=LR, kl_weight=1.0), quick_cell("car_ft", lr=LR, kl_weight=WEIGHT)
    uneven = replace(uneven, training=replace(uneven.training, batch_size=size))
    compared = quick_cell("flyp", lr=1e-5)
    compared = replace(compared, training=replace(compared.training, batch_size=size))
    asked = [(uneven.as_dict(), 1), (whole.as_dict(), PARTS), (compared.as_dict(), 2)]
    run_processes(_process, (asked, str(folder)), WORKERS)
    cells = zip(*(json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORKERS)), strict=True)
    of_uneven, of_whole, of_compared, resumed = map(list, cells)
    probes = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]
    return OnTwo(whole, of_whole, uneven, of_uneven, compared, of_compared, resumed, probes)


@pytest.mark.slow
def test_workers_exchange_gradients_once_per_step(on_two: OnTwo, bench: CellContext) -> None:
    """Loss and gradient are those of one worker, also where the loss compares the images of both."""
    for cell, found, columns in (
        (on_two.whole, on_two.whole_found, ("train/loss", "grad_norm", "train/kl")),
        (on_two.compared, on_two.compared_found, ("train/loss", "grad_norm")),
    ):
        first, second = found
        history = first["history"]
        assert [first["exchanges"], second["exchanges"]] == [len(history)] * WORKERS
        assert history == second["history"]
        alone = compute(cell, bench).history
        for column in columns:
            values = [[row[column] for row in rows] for rows in (alone, history)]
            np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-4, err_msg=f"{cell.method} {column}")


@pytest.mark.slow
def test_uneven_shards_and_a_worker_without_images_give_the_gradient_of_the_batch(
    on_two: OnTwo, bench: CellContext
) -> None:
    """The second worker has no image of the last batch, at which the KL term is most of the gradient.

    Two steps only: over many, AdamW makes differences of one bit in a gradient near 0 into steps of full size.
    """
    alone = compute(on_two.uneven, bench)
    for worker in on_two.uneven_found:
        assert worker["metrics"].keys() == alone.metrics.keys()
        for name, value in alone.metrics.items():
            assert worker["metrics"][name] == pytest.approx(value, abs=1e-3), name
        for found, expected in zip(worker["history"], alone.history, strict=True):
            assert found["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-3, abs=1e-4)
            for column in ("train/kl", "grad_norm"):
                assert found[column] == pytest.approx(expected[column], rel=1e-2, abs=1e-3), column
    last = alone.history[-1]
    assert WEIGHT * last["train/kl"] > last["train/loss"] / 2


def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """Features (101, 8) and labels of three classes."""
    random = torch.manual_seed(0)
    features = F.normalize(torch.randn(101, 8, generator=random), dim=-1)
    return features, (features[:, :CLASSES].argmax(1) + (torch.rand(101, generator=random) < 0.1)) % CLASSES


@pytest.mark.slow
def test_the_first_worker_reads_the_checkpoint_for_all(on_two: OnTwo) -> None:
    first, second = on_two.resumed
    assert first["said"][0].startswith("goes on after step") and first["said"] == second["said"]
    assert first["again"] == first["whole"] == second["again"]
    assert first["weights"] == second["weights"]


@pytest.mark.slow
def test_a_probe_of_two_workers_is_that_of_one(on_two: OnTwo) -> None:
    """Each has every second image; objective and gradient are added up."""
    alone = logistic_regression(*planted(), CLASSES, 1e-3)
    first, second = on_two.probes
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    torch.testing.assert_close(first[0], alone.weight, rtol=1e-4, atol=1e-4)
    assert first[2] == pytest.approx(alone.loss, rel=1e-6)
