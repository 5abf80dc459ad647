"""The number of workers of a cell where nobody gives it: as many as end the sweep soonest. No Ray."""

from __future__ import annotations

from dataclasses import replace

from carft.core.errors import UserError
from carft.spec.registry import METHODS, require_parts_allowed
from sweeps.plan.planning import Plan, plan_of
from sweeps.plan.rates import newest
from sweeps.ray_backend.connect import Resources
from sweeps.search.protocol import Protocol

#: the share of the forecast time at which more workers are worth it: they exchange gradients, which no forecast counts
WORTH = 0.8


def widened(request: Resources, protocol: Protocol) -> Resources:
    """The request with the number of workers of each cell that ends the sweep soonest.

    One worker without GPUs, with shared GPUs, for cells of less than an hour, and for methods that need whole batches.
    A results folder in which cells of the model were trained keeps their number, so that one search is not run partly
    with one number and partly with another.
    """
    if request.gpus < 2 or request.cells_per_gpu > 1:
        return request
    best = _plan(request, protocol)
    if before := _trained_with(best, protocol):
        return _with(request, before) if before <= request.gpus else request
    if not best.needs.long_cells:
        return request
    for workers in (n for n in range(2, request.gpus + 1) if request.gpus % n == 0):
        wider = _with(request, workers)
        if not _is_possible(wider, protocol):
            break
        made = _plan(wider, protocol)
        if made.forecast.wall_s <= WORTH * best.forecast.wall_s:
            request, best = wider, made
    return request


def _plan(request: Resources, protocol: Protocol) -> Plan:
    return plan_of(protocol, request, max(1, request.gpus // request.workers_per_cell))


def _with(request: Resources, workers: int) -> Resources:
    return replace(request, widens=workers > 1, execution=replace(request.execution, workers=workers))


def _trained_with(made: Plan, protocol: Protocol) -> int:
    """The fewest workers of a trained cell of the model on a task of the recipe, since late confirm cells may have
    more; 0 without one.
    """
    tasks = set(protocol.recipe.tasks)
    trained = [
        record.provenance["execution"]["workers"]
        for record in newest(protocol.store, made.model)
        if record.cell.task in tasks and METHODS[record.cell.method].kind == "trained"
    ]
    return min(trained, default=0)


def _is_possible(request: Resources, protocol: Protocol) -> bool:
    """Whether every method can be trained by so many workers."""
    try:
        for method in protocol.recipe.methods:
            require_parts_allowed(method, request.workers_per_cell, request.execution.accumulation)
    except UserError:
        return False
    return True
