"""A job as a worker process runs it: the same code in a Tune actor, in a Ray task and under Ray Train.

A training that runs out of memory runs again with batches in more parts.
"""

from __future__ import annotations

import gc
import json
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from carft.config.catalog import Catalog
from carft.config.cell import Cell
from carft.config.registry import SOUP_RULES, MethodCard
from carft.core.errors import UserError, gpu_in, kind_of, reason_of
from carft.store.failures import write_failure
from carft.store.mirror import store_at
from carft.store.records import Store
from carft.store.stored_catalog import place_of
from carft.training.execution import Execution
from sweeps.faults.storage import LOCK
from sweeps.faults.watchdog import how_it_ended, log_path
from sweeps.ray_backend.connect import HANG_AFTER
from sweeps.search.protocol import Job

#: images of a part below which gradient checkpointing is tried before smaller parts
SMALL = 32

Payload = dict[str, Any]
#: (model, precision, batch size, device, workers) -> parts of a batch, gradient checkpointing: what fitted last
Fitted = dict[tuple[str, str, int, str, int], tuple[int, bool]]


def log(line: str) -> None:
    print(line, flush=True)


def payload(
    job: Job,
    results: str,
    execution: Execution,
    catalog: Catalog,
    hang_after: float = HANG_AFTER,
    start: str = "",
    aside: Iterable[str] = (),
) -> Payload:
    """A job as plain values, to be sent to a worker.

    results: path or URL of the results folder. hang_after: seconds without a heartbeat after which the job is ended; 0
    disables the limit. start: name of the sweep that sends the job. aside: GPUs on which it must not run. catalog:
    knows task and method. Search and grid cells store features of the pretrained model, since many of them have one
    seed.
    """
    return {
        "kind": job.kind,
        "key": job.key,
        "cell": job.cell.as_dict(),
        "keep_weights": job.keep_weights,
        "alphas": list(job.alphas),
        "start": start,
        "results": results,
        "execution": asdict(replace(execution, feature_writes=job.kind in ("search", "grid"))),
        "hang_after": hang_after,
        "aside": sorted(aside),
        "catalog": json.dumps(catalog.with_weights(place_of(job.cell)).plain([job.cell.task]), sort_keys=True),
    }


def store_of(message: Payload) -> Store:
    """The results folder of a job; that of a sweep must hold its sentinel file."""
    return store_at(message["results"], catalog_of(message["catalog"]), LOCK if message["start"] else None)


@lru_cache(maxsize=64)
def catalog_of(plain: str) -> Catalog:
    """The catalog of the process that sent a job, from its plain values as JSON."""
    return Catalog.of_plain(json.loads(plain))


def execution_of(message: Payload) -> Execution:
    """The execution of a job on one worker of this machine; ``UserError`` for a GPU that it does not have."""
    return replace(Execution(**message["execution"]), workers=1).on_this_machine()


def run_payload(message: Payload, fitted: Fitted | None = None) -> dict[str, Any]:
    """Run a job on one worker. A failure is written to the results folder and returned, not raised.

    fitted: what earlier jobs of the process needed to fit into memory; this job may add to it.
    """
    try:
        fitted = {} if fitted is None else fitted
        job, catalog = job_of(message), catalog_of(message["catalog"])
        run_in_memory(lambda execution: run_job(message, execution), job, execution_of(message), log, catalog, fitted)
    except Exception as error:  # any failure of one cell must leave the sweep running
        return failure(message, error)
    return {"failure": ""}


def run_in_memory(
    run: Callable[[Execution], None],
    job: Job,
    execution: Execution,
    log: Callable[[str], None],
    catalog: Catalog,
    fitted: Fitted,
) -> None:
    """Run a job; if it is a training, after each out-of-memory error again with :func:`smaller_execution`.

    What fitted is added to ``fitted``, where the next cell of the model on this device starts. The record's execution
    says it. Raises the last error when nothing is left to try.
    """
    if not job.trains:
        return run(execution)
    cell, method = job.cell, catalog.method(job.cell.method)
    key = (cell.model, cell.precision, cell.training.batch_size, execution.device, execution.workers)
    if key in fitted and method.allows_parts(execution.workers, fitted[key][0]):
        parts, checkpointing = fitted[key]
        parts, checkpointing = max(parts, execution.accumulation), checkpointing or execution.grad_checkpointing
        execution = replace(execution, accumulation=parts, grad_checkpointing=checkpointing)
    first = execution
    while True:
        try:
            run(execution)
            if execution != first:
                fitted[key] = execution.accumulation, execution.grad_checkpointing
            return
        except Exception as error:
            smaller = smaller_execution(cell, execution, method)
            if kind_of(error) != "out of memory" or smaller is None:
                raise
            traceback.print_exc()
        execution, parts = smaller, smaller.accumulation
        again = " and activations computed again in the backward pass" if smaller.grad_checkpointing else ""
        log(f"Out of memory: once more with each batch in {parts} part{'s' * (parts > 1)}{again}.")
        import torch

        gc.collect()  # here, where the exception no longer references the tensors of the attempt
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def smaller_execution(cell: Cell, execution: Execution, method: MethodCard) -> Execution | None:
    """What takes less memory at the same global batch; None where nothing is left to try.

    Batches are computed in twice as many parts. Where parts have :data:`SMALL` images, or the loss needs the whole
    batch, gradient checkpointing is enabled first.
    """
    parts = execution.accumulation
    images = -(-cell.training.batch_size // (execution.workers * parts))
    may_split = images > 1 and method.allows_parts(execution.workers, 2 * parts)
    if not execution.grad_checkpointing and (images <= SMALL or not may_split):
        return replace(execution, grad_checkpointing=True)
    return replace(execution, accumulation=2 * parts) if may_split else None


def run_job(message: Payload, execution: Execution, log: Callable[[str], None] = log) -> None:
    """Run a job.

    Every worker of its cell calls this; the first one reads and writes records.
    """
    from carft.training.distributed import on_rank_zero

    job, store = job_of(message), store_of(message)
    used = dict.fromkeys([job.cell.id, *(cell.id for cell in job.cells()), *job.cell.parents])
    on_rank_zero(lambda: store.sync(list(used)))
    _run(job, message, store, execution, log)
    on_rank_zero(lambda: store.forget_failure(job.cell.id))


def job_of(message: Payload) -> Job:
    """The job of a message."""
    return Job(message["kind"], Cell.from_dict(message["cell"]), alphas=message["alphas"])


def upload_log(message: Payload) -> None:
    """Upload the log of a job to the results folder. A failure is ignored, since no result depends on the log."""
    with suppress(OSError, UserError), store_of(message).changing(f"logs/{message['key']}.log"):
        pass


def _run(job: Job, message: Payload, store: Store, execution: Execution, log: Callable[[str], None]) -> None:
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
        for greedy in SOUP_RULES:
            run_soup(parents, greedy, store, execution, by="sweep")
    else:
        by: Command = "sweep" if message["start"] else "train"
        run_cell(cell, store, execution, job.kind != "search", message["keep_weights"], log, by)


def failure(message: Payload, error: Exception) -> dict[str, Any]:
    """Write the failure record of an exception; returns kind and reason."""
    traceback.print_exception(error, file=sys.stderr)
    kind, reason = kind_of(error), reason_of(error)
    if kind in ("error", "lost"):
        with suppress(OSError):  # there is no log
            ended = how_it_ended(log_path(message["results"], message["key"]))
            if ended[0] != "lost":  # a process of a cell that has several ended without an exception of its own
                kind, reason = ended
    written = record_failure(message, kind, reason, "".join(traceback.format_exception(error)))
    return {**written, "gpu": gpu_in(error)}


def record_failure(message: Payload, kind: str, reason: str, details: str = "") -> dict[str, Any]:
    """Write a failure record; returns kind and reason. Where it cannot be written, the reason says so."""
    cell, store = Cell.from_dict(message["cell"]), store_of(message)
    try:
        log = log_path(message["results"], message["key"])
        write_failure(store, cell, kind, reason, details, message["kind"], log)
    except OSError as unwritten:
        reason = f"{reason} (its failure record could not be written: {unwritten})"
    return {"failure": reason, "kind": kind}
