"""A job as a worker process runs it: the same code in a Tune actor, alone, and on several workers under Ray Train."""

import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from carft.catalog.catalog import Catalog
from carft.config.cell import weights_place_of
from carft.config.registry import SoupRule
from carft.core.errors import UserError
from carft.core.failure_kinds import FailureKind, failure_kind, gpu_in, reason_of
from carft.core.garbage import import_without_collecting
from carft.store.failures import write_failure
from carft.store.mirror import is_url, store_at
from carft.store.records import Store
from carft.training import device
from carft.training.execution import Execution
from sweeps.faults.policy import Fitted, run_until_it_fits
from sweeps.faults.storage import LOCK
from sweeps.faults.watchdog import how_it_ended, log_path, watchdog
from sweeps.plan.resources import HANG_AFTER
from sweeps.ray_backend.gpus import using_worker_gpu
from sweeps.ray_backend.stopping import ending_with_driver, is_stopping
from sweeps.search.jobs import Job

#: Ray's default limit of a collective operation, in seconds, and one that stands for no limit
COLLECTIVE_S, NO_LIMIT_S = 1800, 10**7


def log(line: str) -> None:
    print(line, flush=True)


@dataclass(frozen=True)
class Payload:
    """A job as it is sent to a worker."""

    job: Job
    results: str
    """Path or URL of the results folder."""
    execution: Execution
    catalog: Catalog
    """What knows task and method."""
    hang_after: float
    """Seconds without a heartbeat after which the job is ended; 0 disables the limit."""
    start: str
    """Name of the sweep that sends the job; empty for none."""
    aside: frozenset[str]
    """GPUs on which it must not run."""
    by_epoch: bool = False
    """Whether it waits after each epoch, and may be pruned."""

    def __repr__(self) -> str:
        """The job alone: Tune makes a name of it."""
        return self.job.key

    def __deepcopy__(self, memo: object) -> Self:
        """Itself, which never changes: Tune copies the config of a trial many times."""
        return self

    @property
    def store(self) -> Store:
        """The results folder of the job; that of a sweep must hold its sentinel file."""
        return store_at(self.results, self.catalog, LOCK if self.start else None)

    @property
    def log(self) -> Path:
        """Path of its log."""
        return log_path(self.results, self.job.key)

    def on_one_worker(self) -> Execution:
        """Its execution on one worker of this machine; ``UserError`` for a GPU that the machine does not have."""
        return replace(self.execution, workers=1).on_this_machine()


def payload_of(
    job: Job,
    results: str,
    execution: Execution,
    catalog: Catalog,
    hang_after: float = HANG_AFTER,
    start: str = "",
    aside: Iterable[str] = (),
    prunes: bool = False,
) -> Payload:
    """The payload of a job. Search and grid cells store features of the pretrained model: many have one seed.

    prunes: whether its sweep prunes trials.
    """
    execution = replace(execution, feature_writes=job.kind in ("search", "grid"))
    of_cell = catalog.with_weights(weights_place_of(job.cell)).of_cell(job.cell)
    by_epoch = prunes and job.kind == "search" and execution.workers == 1
    return Payload(job, results, execution, of_cell, hang_after, start, frozenset(aside), by_epoch)


def run_payload(message: Payload, fitted: Fitted | None = None) -> dict[str, Any]:
    """Run a job in this process, or on several workers under Ray Train.

    A failure is written to the results folder and returned, not raised. fitted: what earlier jobs of the process needed
    to fit into memory; this job may add to it.
    """
    several = message.execution.workers > 1
    try:
        run, execution = partial(run_job, message), message.execution
        if several:
            run = partial(run_on_workers, message)
        else:
            execution = message.on_one_worker()
        if message.job.trains:
            known = {} if fitted is None else fitted
            run_until_it_fits(run, message.job.cell, execution, log, message.catalog, known)
        else:
            run(execution)
    except Exception as error:  # any failure of one cell must leave the sweep running
        if several and is_stopping():  # no failure of the cell; the first worker notes it once its checkpoint is there
            raise SystemExit from error
        return record_exception(message, error)
    return {"failure": ""}


def run_job(message: Payload, execution: Execution, log: Callable[[str], None] = log) -> None:
    """Run a job.

    Every worker of its cell calls this; the first one reads and writes records.
    """
    from carft.training.distributed import on_rank_zero

    job, store = message.job, message.store
    used = dict.fromkeys([job.cell.id, *(cell.id for cell in job.cells()), *job.cell.parents])
    on_rank_zero(lambda: store.sync(list(used)))
    compute_job(job, message, store, execution, log)
    on_rank_zero(lambda: store.forget_failure(job.cell.id))


def compute_job(job: Job, message: Payload, store: Store, execution: Execution, log: Callable[[str], None]) -> None:
    from carft.posthoc.soup import run_soup
    from carft.posthoc.wise_ft import run_curve
    from carft.training.distributed import on_rank_zero
    from carft.training.run import Command, run_cell

    cell = job.cell
    if job.kind == "curve":
        run_curve(cell, store, execution, by="sweep", alphas=job.alphas)
    elif job.kind == "soup":
        read = on_rank_zero(lambda: [store.read(parent).cell for parent in cell.parents])
        parents = [replace(parent, model=cell.model, pretrained=cell.pretrained) for parent in read]
        for rule in SoupRule:
            run_soup(parents, rule, store, execution, by="sweep")
    else:
        by: Command = "sweep" if message.start else "train"
        run_cell(cell, store, execution, job.kind != "search", job.keep_weights, log, by)


def run_on_workers(message: Payload, execution: Execution) -> None:
    """Run a job with ``execution.workers`` workers, which write what is missing of its records. Ray must be running.

    The name of the run is new every time, since Ray Train silently resumes a run with a known name.
    """
    import ray.train
    import ray.train.torch

    gpu = execution.device == "cuda"
    hang_after = message.hang_after  # the watchdog, which says that a worker hangs, is faster than a collective
    limit_s = max(COLLECTIVE_S, int(2 * hang_after)) if hang_after else NO_LIMIT_S
    resources = {"CPU": 1.0}
    if gpu:
        resources["GPU"] = 1.0
    with tempfile.TemporaryDirectory(prefix="carft-train-") as scratch:
        trainer = ray.train.torch.TorchTrainer(
            _worker,
            train_loop_config={"message": replace(message, execution=execution)},
            scaling_config=ray.train.ScalingConfig(
                num_workers=execution.workers, use_gpu=gpu, resources_per_worker=resources
            ),
            torch_config=ray.train.torch.TorchConfig(timeout_s=limit_s),
            run_config=ray.train.RunConfig(name=f"{message.job.key}-{uuid4().hex[:8]}", storage_path=scratch),
        )
        trainer.fit()
    job, store = message.job, message.store
    store.refresh(*(f"cells/{cell.id}" for cell in job.cells()))
    for cell in job.cells():
        if not store.is_done(cell.id):
            raise UserError(f"Ray Train ended without a record of cell {cell.id}.", "Look at Ray's log of this run.")


def _worker(config: dict[str, Payload]) -> None:
    """Run the job on one of its workers, under the watchdog."""
    import ray.train

    # before the probe, which is the first product of a worker
    device.use_repeatable_cublas()
    device.clear_bit_variables()
    import_without_collecting("carft.training.run")  # before the watchdog, since imports may be slow
    message = config["message"]
    message.log.parent.mkdir(parents=is_url(message.results), exist_ok=True)
    rank = ray.train.get_context().get_world_rank()
    with watchdog(message.log, message.hang_after), using_worker_gpu(message.execution.device):
        # the first one logs for all; the others would end before it has written its checkpoint
        with ending_with_driver(message.job.cell.id) if rank == 0 else nullcontext():
            run_job(message, message.execution, log if rank == 0 else lambda line: None)
        ray.train.report({"worker": rank})


def record_exception(message: Payload, error: Exception) -> dict[str, Any]:
    """Write the failure record of an exception; returns kind, reason and, where it is known, GPU."""
    traceback.print_exception(error, file=sys.stderr)
    kind, reason = failure_kind(error), reason_of(error)
    if kind in (FailureKind.CODE, FailureKind.LOST):
        with suppress(OSError):  # there is no log
            ended = how_it_ended(message.log)
            # a process of a cell that has several ended without an exception of its own
            if ended[0] != FailureKind.LOST:
                kind, reason = ended
    written = record_failure(message, kind, reason, "".join(traceback.format_exception(error)))
    return {**written, "gpu": gpu_in(error)}


def record_failure(message: Payload, kind: str, reason: str, details: str = "") -> dict[str, Any]:
    """Write a failure record; returns kind and reason. Where it cannot be written, the reason says so."""
    job, store = message.job, message.store
    try:
        write_failure(store, job.cell, kind, reason, details, job.kind, message.log)
    except OSError as unwritten:
        reason = f"{reason} (its failure record could not be written: {unwritten})"
    return {"failure": reason, "kind": kind}
