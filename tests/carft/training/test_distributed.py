"""Two workers of one cell exchange their gradients once per step, in however many parts a batch is computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from carft.methods.linear_probe import logistic_regression
from carft.models.network import Network
from carft.spec.cell import Cell
from carft.training import loop
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank
from carft.training.execution import Execution
from carft.training.run import compute
from tests.support.helpers import LR, quick_cell

WORKERS, PARTS, CLASSES = 2, 4, 3
CELLS = {"car_ft": quick_cell("car_ft", lr=LR, kl_weight=1.0), "flyp": quick_cell("flyp", lr=1e-4)}


def _process(rank: int, spec: dict, folder: str) -> None:
    """Compute a cell on one of the workers, and count the all-reduces of DistributedDataParallel's first bucket."""
    exchanges = 0
    wrapped = loop.wrapped

    def count(group, bucket):  # DistributedDataParallel refuses annotations that are strings
        nonlocal exchanges
        exchanges += bucket.index() == 0
        return allreduce_hook(dist.group.WORLD, bucket)

    def counted(network: Network, execution: Execution, worker: WorkerRank) -> nn.Module:
        model = wrapped(network, execution, worker)
        assert isinstance(model, DistributedDataParallel)
        model.register_comm_hook(None, count)
        return model

    loop.wrapped = counted
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORKERS)
    try:
        execution = Execution(workers=WORKERS, accumulation=PARTS)
        execution.prepare()
        cell = Cell.from_dict(spec)
        history = compute(cell, CellContext.of(cell, execution)).history
        (Path(folder) / f"{rank}.json").write_text(json.dumps({"exchanges": exchanges, "history": history}))
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["car_ft", pytest.param("flyp", marks=pytest.mark.full)])
def test_workers_exchange_gradients_once_per_step(bench: CellContext, tmp_path: Path, method: str) -> None:
    """Loss and gradient are those of one worker, also where the loss compares the images of both."""
    mp.spawn(_process, (CELLS[method].as_dict(), str(tmp_path)), nprocs=WORKERS)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(WORKERS)]
    history = found[0]["history"]
    assert [worker["exchanges"] for worker in found] == [len(history)] * WORKERS
    assert history == found[1]["history"]
    alone = compute(CELLS[method], bench).history
    for column in ("train/loss", "grad_norm", *(["train/kl"] if method == "car_ft" else [])):
        values = [[row[column] for row in rows] for rows in (alone, history)]
        np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-4, err_msg=column)


def _probe(rank: int, folder: str) -> None:
    """Solve the probe on one of the workers; note its solution and the images it embedded."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORKERS)
    try:
        features, labels = planted()
        mine = slice(rank, None, WORKERS)
        found = logistic_regression(features[mine], labels[mine], CLASSES, 1e-3, count=len(features))
        torch.save((found.weight, found.bias, found.loss), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """Features (101, 8) and labels of three classes."""
    random = torch.manual_seed(0)
    features = F.normalize(torch.randn(101, 8, generator=random), dim=-1)
    return features, (features[:, :CLASSES].argmax(1) + (torch.rand(101, generator=random) < 0.1)) % CLASSES


@pytest.mark.slow
def test_a_probe_of_two_workers_is_that_of_one(tmp_path: Path) -> None:
    """Each has every second image; objective and gradient are added up."""
    mp.spawn(_probe, (str(tmp_path),), nprocs=WORKERS)
    alone = logistic_regression(*planted(), CLASSES, 1e-3)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORKERS))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    torch.testing.assert_close(first[0], alone.weight, rtol=1e-4, atol=1e-4)
    assert first[2] == pytest.approx(alone.loss, rel=1e-6)
