"""Checks before a sweep starts: resources, methods, data, weights, disk. No Ray."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from carft.core.errors import UserError
from carft.data.card import DataOptions
from carft.data.catalog import TaskCatalog
from carft.data.readable import require_readable
from carft.models.availability import find_weights
from sweeps.ray_backend.connect import Resources
from sweeps.recipes import Recipe

Log = Callable[[str], None]


def quiet(_: str) -> None:
    """Log nothing."""


def obstacles(recipe: Recipe, request: Resources, log: Log = quiet) -> list[UserError]:
    """All errors that make the sweep impossible, each once. log: gets a sentence before work that takes time."""
    return _errors((request.check, partial(_require_cores, request), *_checks(recipe, request, log)))


def obstacles_of_recipe(recipe: Recipe, request: Resources, log: Log = quiet) -> list[UserError]:
    """The obstacles in methods, data and weights, whatever the machine has. log: as of :func:`obstacles`."""
    return _errors(_checks(recipe, request, log))


def _errors(checks: Iterable[Callable[[], object]]) -> list[UserError]:
    found = {}
    for check in checks:
        try:
            check()
        except UserError as error:
            found[error.message] = error
    return list(found.values())


def require_possible(recipe: Recipe, request: Resources, log: Log = quiet) -> None:
    """Raise the first obstacle as ``UserError``, with the number of the others."""
    found = obstacles(recipe, request, log)
    if len(found) > 1:
        more = f"{len(found) - 1} more things stand in the way; the same command with plan lists them."
        raise UserError(found[0].message, f"{found[0].hint} {more}".strip())
    if found:
        raise found[0]


def starts(recipe: Recipe) -> list[tuple[str, str]]:
    """(model, weights) that the cells start from, each once; tasks may have their own."""
    cells = [recipe.cell(task, "zeroshot", {}) for task in recipe.tasks]
    return list(dict.fromkeys((cell.model, cell.pretrained) for cell in cells))


def require_space(results: Path, wanted: int) -> None:
    """Raise ``UserError`` when ``wanted`` bytes do not fit on the disk of the results folder, which may not exist."""
    there = next(place for place in (results.absolute(), *results.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if wanted > free:
        needed, left = f"{wanted / 2**30:.1f} GiB", f"{free / 2**30:.1f} GiB"
        raise UserError(
            f"The sweep would write about {needed} to '{results}', where {left} are free.",
            "Make room, or give --results a folder on a larger disk.",
        )


def _checks(recipe: Recipe, request: Resources, log: Log) -> Iterator[Callable[[], object]]:
    if recipe.precision == "tf32" and request.execution.device == "cpu":  # what a GPU has is known where it is
        from carft.models.network import require_precision

        yield partial(require_precision, recipe.precision, request.execution.device)
    for method in recipe.methods:
        allowed = recipe.catalog.method(method).require_parts_allowed
        yield partial(allowed, request.workers_per_cell, request.execution.accumulation)
    unreadable: dict[str, Mapping[Path, str]] = {}
    for task in recipe.tasks:
        yield partial(_require_data, recipe.catalog, task, request.execution, log, unreadable)
    for model, weights in starts(recipe):
        yield partial(find_weights, model, weights)


def _require_data(
    catalog: TaskCatalog, task: str, options: DataOptions, log: Log, unreadable: dict[str, Mapping[Path, str]]
) -> None:
    catalog.require_present(task, options, sealed=True)
    require_readable(catalog, task, options, log, unreadable)


def _require_cores(request: Resources) -> None:
    cores = os.cpu_count() or 1
    if request.address is None and request.workers_per_cell > cores:
        raise UserError(
            f"A cell of {request.workers_per_cell} workers needs as many CPU cores; this machine has {cores}.",
            "Lower --workers-per-cell, or give --address of a cluster that has them.",
        )
