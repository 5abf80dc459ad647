"""One job on several workers, through Ray Train: gloo on CPU, NCCL on GPU, at the same global batch."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from uuid import uuid4

import ray.train
import ray.train.torch
from ray.train.torch import TorchTrainer

from carft.core.errors import UserError
from carft.store.object_store import is_url
from carft.training import device
from carft.training.execution import Execution
from sweeps.faults.watchdog import watchdog
from sweeps.ray_backend.gpus import worker_gpu
from sweeps.ray_backend.jobs import Payload, log, run_job
from sweeps.ray_backend.stopping import ending_with_driver

#: Ray's default limit of a collective operation, in seconds, and one that stands for no limit
COLLECTIVE_S, NO_LIMIT_S = 1800, 10**7
device.use_repeatable_cublas()  # before the probe, which is the first product of a worker


def run_on_workers(message: Payload, execution: Execution) -> None:
    """Run a job with ``execution.workers`` workers, which write what is missing of its records. Ray must be running.

    The name of the run is new every time, since Ray Train silently resumes a run with a known name.
    """
    gpu = execution.device == "cuda"
    hang_after = message.hang_after  # the watchdog, which says that a worker hangs, is faster than a collective
    limit_s = max(COLLECTIVE_S, int(2 * hang_after)) if hang_after else NO_LIMIT_S
    resources = {"CPU": 1.0, **({"GPU": 1.0} if gpu else {})}
    with tempfile.TemporaryDirectory(prefix="carft-train-") as scratch:
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"message": replace(message, execution=execution)},
            scaling_config=ray.train.ScalingConfig(
                num_workers=execution.workers, use_gpu=gpu, resources_per_worker=resources
            ),
            torch_config=ray.train.torch.TorchConfig(timeout_s=limit_s),
            run_config=ray.train.RunConfig(
                name=f"{message.job.key}-{uuid4().hex[:8]}",
                storage_path=scratch,
            ),
        )
        trainer.fit()
    job, store = message.job, message.store
    store.refresh(*(f"cells/{cell.id}" for cell in job.cells()))
    for cell in job.cells():
        if not store.is_done(cell.id):
            raise UserError(f"Ray Train ended without a record of cell {cell.id}.", "Look at Ray's log of this run.")


def _worker(config: dict[str, Payload]) -> None:
    """Run the job on one of its workers, under the watchdog."""
    message = config["message"]
    message.log.parent.mkdir(parents=is_url(message.results), exist_ok=True)
    rank = ray.train.get_context().get_world_rank()
    with watchdog(message.log, message.hang_after), worker_gpu(message.execution.device):
        # the first one logs for all; the others would end before it has written its checkpoint
        with ending_with_driver(message.job.cell.id) if rank == 0 else nullcontext():
            run_job(message, message.execution, log if rank == 0 else lambda line: None)
        ray.train.report({"worker": rank})
