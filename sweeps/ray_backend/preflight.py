"""Checks before a sweep starts: resources, methods, data, weights, disk. No Ray."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from carft.core.errors import UserError, size_words
from carft.models.availability import find_weights
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import require_resources
from sweeps.recipes.recipe import Recipe

Log = Callable[[str], None]


def obstacles(
    recipe: Recipe, request: Resources, log: Log = lambda _: None, of_machine: bool = True
) -> list[UserError]:
    """All errors that make the sweep impossible, each once. log: gets a sentence before work that takes time.

    of_machine: also those in GPUs, cores and address, beside those in methods, data and weights.
    """
    checks = list(_checks(recipe, request, log))
    if of_machine:
        checks.insert(0, partial(require_resources, request))
    errors: dict[str, UserError] = {}
    for check in checks:
        try:
            check()
        except UserError as error:
            errors[error.message] = error
    return list(errors.values())


def require_possible(recipe: Recipe, request: Resources, log: Log) -> None:
    """Raise the first obstacle as ``UserError``, with the number of the others."""
    errors = obstacles(recipe, request, log)
    if len(errors) > 1:
        more = f"{len(errors) - 1} more things stand in the way; the same command with plan lists them."
        raise UserError(errors[0].message, f"{errors[0].hint} {more}".strip())
    if errors:
        raise errors[0]


def existing_folder(folder: Path) -> Path:
    """The folder, or where there is none the nearest one above it."""
    place = folder.absolute()
    while not place.is_dir():
        place = place.parent
    return place


def require_space(results: Path, wanted: int) -> None:
    """Raise ``UserError`` when ``wanted`` bytes do not fit on the disk of the results folder, which may not exist."""
    free = shutil.disk_usage(existing_folder(results)).free
    if wanted > free:
        raise UserError(
            f"The sweep would write about {size_words(wanted)} to '{results}', where {size_words(free)} are free.",
            "Make room, or give --results a folder on a larger disk.",
        )


def _checks(recipe: Recipe, request: Resources, log: Log) -> Iterator[Callable[[], object]]:
    """The checks of methods, data and weights."""
    catalog, execution = recipe.catalog, request.execution
    if recipe.precision == "tf32" and execution.device == "cpu":  # what a GPU has is known where it is
        from carft.models.network import require_precision

        yield partial(require_precision, recipe.precision, execution.device)
    for method in recipe.methods:
        yield partial(catalog.method(method).require_parts_allowed, request.execution.workers, execution.accumulation)
    unreadable: dict[str, Mapping[Path, str]] = {}

    def require_data(task: str) -> None:
        catalog.require_present(task, execution, sealed=True)
        catalog.require_readable(task, execution, log, unreadable)

    def require_weights(model: str, weights: str) -> None:
        source = find_weights(model, weights)
        if source:
            log(f"Weights will be downloaded: {source}")

    for task in recipe.tasks:
        yield partial(require_data, task)
    for model, weights in recipe.starting_weights():
        yield partial(require_weights, model, weights)
