"""One cell on several workers, through Ray Train: gloo on CPU, NCCL on GPU, at the same global batch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import ray.train
import ray.train.torch
from ray.train.torch import TorchTrainer

from carft.core.errors import DeviceFailed, UserError
from carft.spec.cell import Cell
from carft.spec.plugins import texts
from carft.store.early_stopping import NO_THRESHOLDS, Thresholds, known_pruned
from carft.store.failure_kinds import is_of_a_device
from carft.store.mirror import store_at
from carft.store.named_tasks import require_task
from carft.store.object_store import is_url
from carft.store.records import Store
from carft.training import device
from carft.training.execution import Execution
from carft.training.preemption import ended_by, never
from sweeps.faults.lock import NAME as SWEPT
from sweeps.faults.watchdog import HANG_AFTER, log_path, watchdog
from sweeps.ray_backend.jobs import load_plugins
from sweeps.ray_backend.stopping import is_stopping

#: job of a cell that belongs to no sweep
ALONE = "train"


def _worker(config: dict[str, Any]) -> None:
    """Train and validate the cell on one worker, under the watchdog; rank 0 writes the record."""
    path = log_path(config["results"], f"{config['job']}-{Cell.from_dict(config['cell']).id}")
    path.parent.mkdir(parents=is_url(config["results"]), exist_ok=True)
    with watchdog(path, config["hang_after"]), _gpu_named(config["execution"]["device"]):
        _train(config)


@contextmanager
def _gpu_named(wanted: str) -> Iterator[None]:
    """Use the GPU of this worker, once it computes. A failure of it within the block is raised with its name."""
    if wanted == "cpu":
        yield
        return
    import torch

    number = ray.train.torch.get_device().index  # workers of one node see the same GPUs
    gpu = device.gpu_name(number)
    try:
        torch.cuda.set_device(number)
        device.probe("cuda", gpu)
        yield
    except RuntimeError as error:
        if not is_of_a_device(error) or isinstance(error, DeviceFailed):
            raise
        raise DeviceFailed(str(error).splitlines()[0], gpu) from error


def _train(config: dict[str, Any]) -> None:
    from carft.training.context import CellContext
    from carft.training.run import compute, store_checkpoints, write

    load_plugins(config["plugins"])
    execution = Execution(**config["execution"])
    execution.prepare()
    cell, store = Cell.from_dict(config["cell"]), _store(config["results"], config["job"])
    require_task(store, cell.task)
    context = CellContext.of(cell, execution)
    checkpoints = store_checkpoints(cell, store, execution)
    first = ray.train.get_context().get_world_rank() == 0
    with ended_by(is_stopping if first else never):  # the first worker alone writes: a second one must not end before
        computed = compute(cell, context, checkpoints, _log if first else _silent, config["limits"])
    if first:
        store.sync([cell.id])
        write(cell, computed, context, store, config["keep_weights"])
        checkpoints.remove()
    ray.train.report({"val/top1": computed.metrics["val/top1"]})


def _log(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    """Nothing: the first worker logs for all."""


def _store(results: str, job: str) -> Store:
    return store_at(results, None if job == ALONE else SWEPT)


def train_cell(
    cell: Cell,
    results: str,
    execution: Execution,
    keep_weights: bool,
    hang_after: float = HANG_AFTER,
    job: str = ALONE,
    limits: Thresholds = NO_THRESHOLDS,
) -> None:
    """Train a cell with ``execution.workers`` workers and write its record, unless it is done. Ray must be running.

    hang_after: seconds without a heartbeat after which a worker is ended. job: kind of the job, part of its log's name.
    limits: thresholds of early stopping. The name of the run is new every time, since Ray Train silently resumes a run
    with a known name.
    """
    store = _store(results, job)
    store.sync([cell.id])
    if not store.set_aside_stale(cell.id):
        return
    gpu = execution.device == "cuda"
    resources = {"CPU": 1.0, **({"GPU": 1.0} if gpu else {})}
    with tempfile.TemporaryDirectory(prefix="carft-train-") as scratch:
        trainer = TorchTrainer(
            _worker,
            train_loop_config={
                "cell": cell.as_dict(),
                "results": results,
                "execution": asdict(execution),
                "keep_weights": keep_weights,
                "hang_after": hang_after,
                "job": job,
                "limits": dict(limits),
                "plugins": texts(),
            },
            scaling_config=ray.train.ScalingConfig(
                num_workers=execution.workers, use_gpu=gpu, resources_per_worker=resources
            ),
            run_config=ray.train.RunConfig(name=f"{cell.id}-{uuid4().hex[:8]}", storage_path=scratch),
        )
        trainer.fit()
    store.refresh(f"cells/{cell.id}")
    if not store.is_done(cell.id) and known_pruned(store, cell, limits) is None:
        raise UserError(f"Ray Train ended without a record of cell {cell.id}.", "Look at Ray's log of this run.")
