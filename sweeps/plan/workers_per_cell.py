"""The number of workers of a cell where nobody gives it: as many as end the sweep soonest. No Ray."""

from __future__ import annotations

from dataclasses import replace

from carft.models.availability import size_of
from sweeps.plan.planning import Plan, hardware_of, plan_of
from sweeps.plan.rates import estimated
from sweeps.ray_backend.connect import Resources
from sweeps.ray_backend.memory import may_have_parts
from sweeps.ray_backend.preflight import starts
from sweeps.search.protocol import Protocol

#: speedup of a sweep from which on more workers are taken: they exchange gradients, which no forecast counts
MIN_SPEEDUP = 1.25


def choose_workers_per_cell(request: Resources, protocol: Protocol) -> Resources:
    """The request with the number of workers of each cell that ends the sweep soonest.

    One worker without GPUs, with shared GPUs, for cells of less than an hour, and for methods that need whole batches.
    A recipe whose search cells are on record keeps their number, so that one search is not run partly with one number
    and partly with another.
    """
    if request.gpus < 2 or request.cells_per_gpu > 1:
        return request
    best, recipe = _plan(request, protocol), protocol.recipe
    if before := _searched_with(protocol):
        return _with(request, before) if before <= request.gpus else request
    if not best.needs.long_cells:
        return request
    for workers in (n for n in range(2, request.gpus + 1) if request.gpus % n == 0):
        wider = _with(request, workers)
        methods = map(recipe.catalog.method, recipe.methods)
        if not all(may_have_parts(method, workers, request.execution.accumulation) for method in methods):
            break
        made = _plan(wider, protocol)
        if best.forecast.wall_s >= MIN_SPEEDUP * made.forecast.wall_s:
            request, best = wider, made
    return request


def _plan(request: Resources, protocol: Protocol) -> Plan:
    """The plan by the size of the model alone: what zero-shot cells took would favour their number of workers."""
    size = size_of(starts(protocol.recipe)[0][0])
    rate = estimated(size, hardware_of(request, protocol.recipe.precision)) if size else None
    return plan_of(protocol, request, max(1, request.gpus // request.workers_per_cell), rate)


def _with(request: Resources, workers: int) -> Resources:
    return replace(request, widens=workers > 1, execution=replace(request.execution, workers=workers))


def _searched_with(protocol: Protocol) -> int:
    """Workers of the search cells of the recipe that are on record; 0 without one. They are never wider."""
    for study in protocol.studies:
        for _, _, cell in protocol.trials(study):
            if cell.id in protocol.done:
                return int(protocol.store.read(cell.id).provenance["execution"]["workers"])
    return 0
