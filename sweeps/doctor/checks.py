"""The checks in their order, and how they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from carft.core.errors import UserError
from sweeps.doctor.check import Check, Subject
from sweeps.doctor.machine import cards, driver, exchange, host_memory, open_files, shared_memory
from sweeps.doctor.work import cache_disk, data_disk, decoding, object_store, results_disk, training_step

#: name -> check of the machine alone
MACHINE: Mapping[str, Callable[[Subject], Check]] = {
    "driver": driver,
    "cards": cards,
    "exchange": exchange,
    "shared memory": shared_memory,
    "open files": open_files,
}
#: name -> check of what the recipe needs of the machine
SWEEP: Mapping[str, Callable[[Subject], Check]] = {
    "training step": training_step,
    "decoding": decoding,
    "disk of data": data_disk,
    "object store": object_store,
    "disk of results": results_disk,
    "disk of cache": cache_disk,
    "host memory": host_memory,
}
#: name of the check of methods, data and weights, which has a line for each that is missing
RECIPE = "data and weights"


def examine(subject: Subject) -> Iterator[Check]:
    """Yield every check when it is done. Where one raises ``UserError``, a sweep could not run."""
    yield from _run(MACHINE, subject)
    for error in subject.obstacles:
        yield Check(error.message, error.hint, RECIPE, stops=True)
    if not subject.obstacles:
        yield Check(f"all that {subject.recipe.name} needs is here, or can be downloaded", name=RECIPE)
    yield from _run(SWEEP, subject)


def _run(checks: Mapping[str, Callable[[Subject], Check]], subject: Subject) -> Iterator[Check]:
    for name, check in checks.items():
        try:
            found = check(subject)
        except UserError as error:
            found = Check(error.message, error.hint, stops=True)
        yield replace(found, name=name)
