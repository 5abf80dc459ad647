"""The plan of a sweep, and the number of workers of a cell where nobody gives it. No Ray."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace

from carft.core.errors import CorruptFile
from carft.models.availability import size_of
from carft.store.failures import settled_failures
from carft.store.records import Store
from carft.store.sweep_state import read_states
from carft.training.execution import hardware_name
from sweeps.plan.forecast import Forecast, forecast
from sweeps.plan.needs import Needs, needs_of
from sweeps.plan.rates import Hardware, Rates, estimated, newest, recorded
from sweeps.plan.work import Costs
from sweeps.ray_backend.connect import Resources
from sweeps.ray_backend.memory import may_have_parts
from sweeps.ray_backend.preflight import starts
from sweeps.recipes import Recipe
from sweeps.search.protocol import Protocol

#: hours of the longest cell on one GPU above which a second GPU is worth its overhead
LONG_H = 1.0
#: speedup of a sweep from which on more workers are taken: they exchange gradients, which no forecast counts
MIN_SPEEDUP = 1.25


@dataclass(frozen=True)
class Plan:
    """A forecast, what it rests on and what it needs."""

    forecast: Forecast
    rates: Rates | None
    model: str
    hardware: Hardware
    needs: Needs
    costs: Costs | None = None
    """What cells take; None: as far as it is known without a data folder."""


def plan_of(protocol: Protocol, request: Resources, slots: int, rates: Rates | None = None) -> Plan:
    """The plan of what ``protocol`` has left. slots: cells at a time.

    rates: by default those of records of the model on this hardware, else of the model's size. The range of the time
    reaches as far as earlier sweeps of the results folder missed theirs.
    """
    model = starts(protocol.recipe)[0][0]
    hardware, size = hardware_of(request, protocol.recipe.precision), size_of(model)
    costs = Costs(protocol.store.catalog, request.execution)
    rates = rates or recorded(newest(protocol.store, model, costs), hardware, costs, size)
    if rates is None and size is not None:
        rates = estimated(size, hardware)
    made = forecast(protocol, slots, rates, size, costs)
    least, most = (factor * made.wall_s for factor in misses(protocol.store, made))
    made = replace(made, low_s=min(made.low_s, least), high_s=max(made.high_s, most))
    needs = needs_of(protocol.recipe, request, made, hardware, size, rates.trained.seconds if rates else 0.0, costs)
    return Plan(made, rates, model, hardware, needs, costs)


def misses(store: Store, made: Forecast) -> tuple[float, float]:
    """Smallest and largest ratio of the duration of an earlier sweep to its forecast; (1, 1) without such a sweep.

    Counted are sweeps on this machine that ended without a failure, whose forecast rested on a measurement if and only
    if that of ``made`` does, and was at least a tenth of its time: much of a short sweep is the start of Ray.
    """
    try:
        states = read_states(store)
    except CorruptFile:  # no result depends on it
        return 1.0, 1.0
    factors = [
        (state.ended - state.started) / state.forecast_s
        for state in states
        if state.outcome == "done" and not state.counts.failed and state.host == socket.gethostname()
        if state.ended and state.forecast_s and state.forecast_s >= made.wall_s / 10 and state.estimate == made.estimate
    ]
    return min(factors, default=1.0), max(factors, default=1.0)


def protocol_to_plan(recipe: Recipe, store: Store, retry_failed: bool) -> Protocol:
    """The protocol of a sweep that is planned and not run. Where nothing is on record, one search stands for all.

    retry_failed: whether jobs that failed before would run again.
    """
    failed = {} if retry_failed else settled_failures(store)
    is_new = not (failed or store.ids() or store.study_names())
    return Protocol(recipe, store, failed, searches=1 if is_new else None)


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
    pass_s = best.rates.trained.seconds if best.rates else 0.0
    if max((work.passes * pass_s for work in best.forecast.left if work.trains), default=0.0) <= 3600 * LONG_H:
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
    return replace(request, execution=replace(request.execution, workers=workers))


def _searched_with(protocol: Protocol) -> int:
    """Workers of the search cells of the recipe that are on record; 0 without one."""
    for study in protocol.studies:
        for cell in study.trial_cells:
            if cell.id in protocol.done:
                return int(protocol.store.read(cell.id).provenance["execution"]["workers"])
    return 0


def hardware_of(request: Resources, precision: str) -> Hardware:
    """The requested hardware: this machine, or the machines of a cluster, of which the GPU card may be named."""
    device = request.execution.device
    here = hardware_name(device)
    elsewhere = request.address is not None or (device == "cuda" and "gpu" not in here) or bool(request.gpu_model)
    machine = None if elsewhere else here
    workers, sharing = request.workers_per_cell, request.cells_per_gpu
    return Hardware(device, workers, precision, machine, sharing, request.gpu_model)
