"""Cells that compute nothing, for the workers of a sweep that a test starts: all but what a cell computes is real.

``RAY_RUNTIME_ENV_HOOK=tests.support.dry.runtime_env`` makes Ray call :func:`install` in every worker of the sweep.
Where the sweep has a gate (``tests/support/gates.py``), jobs that would train stop there when half of their files are
written: trials before the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from carft.config.cell import Cell
from carft.core.metrics import with_prefix
from carft.store.records import Store
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Job, Protocol
from tests.support import gates
from tests.support.helpers import made_up_predictions, made_up_record

ENVIRONMENT = {"RAY_RUNTIME_ENV_HOOK": "tests.support.dry.runtime_env"}
PREDICTIONS = made_up_predictions()


def runtime_env(asked: dict[str, Any] | None) -> dict[str, Any]:
    """Ray's hook."""
    return gates.runtime_env(asked, "tests.support.dry.install")


def install() -> None:
    """Have the cells that this process is sent write made-up records instead of computing."""
    import carft.training.device
    import sweeps.ray_backend.jobs

    def run(job: Job, message: object, store: Store, *rest: object) -> None:
        todo = list(parts(store, job))
        for number, part in enumerate(todo):
            if job.trains and number == len(todo) // 2:
                gates.stop(job.key)
            part()

    sweeps.ray_backend.jobs.compute_job = run
    # without looking for the GPU
    sweeps.ray_backend.jobs.Payload.on_one_worker = lambda message: message.execution
    carft.training.device.probe_gpu = lambda device, gpu: None


def made_up_metrics(cell: Cell, name: str) -> dict[str, float]:
    """A function of the cell's id, with few different values, so that ties happen."""
    value = int(cell.id[:8], 16)
    return with_prefix(name, {"top1": value % 5 / 5, "mean_per_class": value % 7 / 7, "loss": value % 11 / 11 + 0.1})


def parts(store: Store, job: Job) -> Iterator[Callable[[], None]]:
    """What writes what a job leaves, one file after another: records, and evaluations of what it unseals."""
    for cell in job.cells():
        if job.kind != "oracle":
            made = made_up_record(cell, made_up_metrics(cell, "val"))
            provenance = {**made.provenance, "digests": {"attested": "yes"}, "packages": {}, "machine": {}}
            yield partial(store.write, replace(made, provenance=provenance), [], PREDICTIONS)
        if job.kind != "search":
            for name in sorted(set(store.catalog.card(cell.task).sets) - store.evaluated(cell.id)):
                yield partial(
                    store.add_evaluation, cell.id, name, made_up_metrics(cell, name), PREDICTIONS, {"by": "sweep"}
                )


def undisturbed(recipe: Recipe, results: Path) -> None:
    """The same protocol without Ray: one job after another, in this process."""
    store = Store(results)
    protocol = Protocol(recipe, store)
    protocol.commit({})
    protocol.write_studies()
    while (job := protocol.next_job()) is not None:
        for part in parts(store, job):
            part()
        protocol.end(job)
        protocol.write_studies(at_once=False)
    protocol.write_studies()
