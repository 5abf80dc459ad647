"""A cell on several processes: without Ray, whom the training loop does not know, and through Ray Train."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import ray
import torch
import torch.distributed as dist
from torch.multiprocessing import get_context, start_processes

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import connect
from sweeps.ray_backend.jobs import Payload, payload_of, run_job, run_on_workers
from sweeps.search.protocol import Job
from tests.support.cards import killed_and_resumed, on_noise, require_same_bits
from tests.support.drawn import all_images


def open_few_images(cell: Cell, execution: Execution) -> CellContext:
    """The context of a cell with 128 images to train on, four steps an epoch, and 32 to validate on."""
    with all_images():
        context = CellContext.of(cell, execution, catalog=BUILT_IN)
    task = context.task
    return replace(context, task=replace(task, train=task.train.rows(range(128)), val=task.val.rows(range(32))))


def run_processes(work: Callable[..., None], arguments: tuple[object, ...], count: int) -> None:
    """Call ``work(rank, *arguments)`` in so many processes: forks of one that imports and draws once for all."""
    get_context("forkserver").set_forkserver_preload(["tests.support.forked"])
    start_processes(work, arguments, nprocs=count, start_method="forkserver")


def run_jobs_on_two(jobs: Sequence[Job], folder: Path) -> Store:
    """A results folder in which two processes ran jobs of a sweep, one after another, as workers of Ray Train do."""
    execution = Execution(workers=2)
    payloads = [payload_of(job, str(folder), execution, BUILT_IN) for job in jobs]
    run_processes(_run_jobs, (payloads, str(folder)), 2)
    return Store(folder)


def _run_jobs(rank: int, payloads: Sequence[Payload], folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        for payload in payloads:
            run_job(payload, payload.execution, log=str)
    finally:
        dist.destroy_process_group()


def noise_on(
    workers: int, model: str, precision: str, folder: Path, device: Literal["cpu", "cuda"], compiler: str = ""
) -> dict:
    """Metrics and history of a cell on noise, with batches of 16 in two parts on each of so many workers.

    Every worker trains it twice, the second time killed and resumed, and asserts that the bits are the same.
    compiler: a backend of torch.compile; empty for none.
    """
    folder.mkdir(parents=True)
    run_processes(_noise_on, (workers, model, precision, str(folder), device, compiler), workers)
    return json.loads((folder / "0.json").read_text())


def _noise_on(
    rank: int, workers: int, model: str, precision: str, folder: str, device: Literal["cpu", "cuda"], compiler: str
) -> None:
    backend = "gloo"
    if device == "cuda":
        backend = "nccl"
        torch.cuda.set_device(rank)
    rendezvous = f"file://{folder}/rendezvous"
    dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=workers)
    if compiler:
        torch.compile = partial(torch.compile, backend=compiler)  # type: ignore[assignment]
    try:
        execution = Execution(device, workers=workers, accumulation=2, compile=compiler != "")
        cell, context = on_noise(model, precision, 16, 2, execution)
        computed = compute(cell, context)
        resumed, _ = killed_and_resumed(cell, context, Path(folder), after=len(computed.history) - 1)
        require_same_bits(computed, resumed)
        content = {"metrics": computed.metrics, "history": computed.history}
        (Path(folder) / f"{rank}.json").write_text(json.dumps(content))
    finally:
        dist.destroy_process_group()


def run_alone(work: Callable[..., None], *arguments: object) -> None:
    """Call ``work(*arguments)`` in a process of its own.

    Ray reads its token once a process: one that has joined a cluster without a token cannot start a Ray with one.
    """
    run_processes(_ranked, (work, arguments), 1)


def _ranked(rank: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    work(*arguments)


def run_on_two(cell: Cell, folder: Path, device: Literal["cpu", "cuda"] = "cpu") -> Store:
    """A results folder with a cell that two workers of Ray Train ran and evaluated on the held-out sets."""
    run_alone(_run_on_two, cell.as_dict(), str(folder), device)
    return Store(folder)


def _run_on_two(spec: dict, folder: str, device: Literal["cpu", "cuda"]) -> None:
    execution = Execution(device, workers=2)
    os.environ["RAY_RUNTIME_ENV_HOOK"] = "tests.support.drawn.runtime_env"
    connect(Resources(gpus=2 if device == "cuda" else 0, execution=execution), log=print)
    try:
        job = Job("confirm", Cell.from_dict(spec))
        run_on_workers(payload_of(job, folder, execution, catalog=BUILT_IN), execution)
    finally:
        ray.shutdown()
