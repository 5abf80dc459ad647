"""The plan of a sweep: its forecast, what its machines need, and the workers of a cell where nobody says. No Ray."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, replace

from carft.config.settings import HALF_PRECISIONS
from carft.core.errors import CorruptFile
from carft.models.availability import ModelSize, size_of
from carft.store.failures import settled_failures
from carft.store.records import Store
from carft.store.sweep_state import read_states
from carft.training.execution import FEATURE_SHARE, Execution, hardware_name
from sweeps.plan.forecast import Forecast, forecast
from sweeps.plan.rates import Costs, Hardware, Rates, estimated, newest, recorded
from sweeps.ray_backend.connect import Resources
from sweeps.ray_backend.preflight import starts
from sweeps.recipes import Recipe
from sweeps.search.protocol import Protocol

#: hours of the longest cell on one GPU above which a second GPU is worth its overhead
LONG_H = 1.0
#: speedup of a sweep from which on more workers are taken: they exchange gradients, which no forecast counts
MIN_SPEEDUP = 1.25
#: CPU seconds to decode and crop a photo of 500 x 375, measured once on one core of an AMD EPYC
DECODE_S = 2.3e-3
#: CPU time of an image with an augmentation over that with ``crop``, decoding included (benchmarks/input.py)
AUGMENTATION_COST = {"crop": 1.0, "clipood": 2.0, "domainbed": 3.9}
#: bytes of host memory of a process that computes a cell, without its checkpoint: torch with CUDA, batches ahead
PROCESS_BYTES = 4 * 2**30
#: copies of the trained numbers in a checkpoint: weights and AdamW's two moments
COPIES = 3
#: bytes of a number in a checkpoint
FLOAT = 4
#: bytes on a GPU for each trained number: weight, gradient and AdamW's two moments, and the pretrained weight
ON_GPU = 20


@dataclass(frozen=True)
class LargerCache:
    """What a larger cache would save a sweep whose cache of features does not hold all epochs of a task."""

    task: str
    held: int
    """Epochs that the cache holds now."""
    epochs: int
    gib: int
    """Size that holds all of them, in GiB."""
    hours: float
    """Hours of a device that it saves at most."""


@dataclass(frozen=True)
class Needs:
    """What the machines of a sweep need."""

    checkpoint_minutes: float
    """Minutes between checkpoints; 0 for none."""
    checkpoint_bytes: int
    """Bytes of the checkpoints of all cells that run at a time, in the results folder; 0 where the size is unknown."""
    cores_per_device: int
    """CPU cores for each GPU, or for each cell on a CPU: one that computes, the others decode."""
    memory_per_device: int
    """Bytes of host memory for each GPU, or for each cell on a CPU."""
    cache_bytes: int
    """Bytes of disk on every node for the cache of features."""
    workers: int
    """Workers of a cell."""
    batch: int = 0
    """Images of a batch for one worker."""
    gpu_bytes: int = 0
    """Bytes of GPU memory of a worker that computes its batch in one part; 0 where unknown. An upper estimate."""
    larger_cache: LargerCache | None = None
    """Of the task for which it saves most; None where none saves anything."""


@dataclass(frozen=True)
class Plan:
    """A forecast, what it rests on and what it needs."""

    forecast: Forecast
    rates: Rates
    model: str
    hardware: Hardware
    needs: Needs
    costs: Costs


def plan_of(protocol: Protocol, request: Resources, slots: int, rates: Rates | None = None) -> Plan:
    """The plan of what ``protocol`` has left. slots: cells at a time.

    rates: by default those of records of the model on this hardware, else of the model's size. The range of the time
    reaches as far as earlier sweeps of the results folder missed theirs.
    """
    model = starts(protocol.recipe)[0][0]
    hardware, size = hardware_of(request, protocol.recipe.precision), size_of(model)
    costs = Costs(protocol.store.catalog, request.execution)
    rates = rates or recorded(newest(protocol.store, model, costs), hardware, costs, size) or estimated(size, hardware)
    made = forecast(protocol, slots, rates, size, costs)
    least, most = (factor * made.wall_s for factor in misses(protocol.store, made))
    made = replace(made, low_s=min(made.low_s, least), high_s=max(made.high_s, most))
    needs = needs_of(protocol.recipe, request, made, hardware, size, rates.trained.seconds, costs)
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
    longest = max((work.passes for work in best.forecast.left if work.trains), default=0.0)
    if longest * best.rates.trained.seconds <= 3600 * LONG_H:
        return request
    for workers in (n for n in range(2, request.gpus + 1) if request.gpus % n == 0):
        wider = _with(request, workers)
        methods = map(recipe.catalog.method, recipe.methods)
        if not all(method.allows_parts(workers, request.execution.accumulation) for method in methods):
            break
        made = _plan(wider, protocol)
        if best.forecast.wall_s >= MIN_SPEEDUP * made.forecast.wall_s:
            request, best = wider, made
    return request


def _plan(request: Resources, protocol: Protocol) -> Plan:
    """The plan by the size of the model alone: what zero-shot cells took would favour their number of workers."""
    rates = estimated(size_of(starts(protocol.recipe)[0][0]), hardware_of(request, protocol.recipe.precision))
    return plan_of(protocol, request, max(1, request.gpus // request.workers_per_cell), rates)


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


def needs_of(
    recipe: Recipe,
    request: Resources,
    made: Forecast,
    hardware: Hardware,
    size: ModelSize | None,
    pass_s: float,
    costs: Costs,
) -> Needs:
    """The needs of what is left of a sweep. pass_s: seconds of one pass of a cell that trains, 0 where unknown."""
    minutes = request.execution.checkpoint_minutes
    checkpoint = COPIES * FLOAT * size.parameters if size and minutes else 0
    batch = math.ceil(recipe.training.batch_size / request.workers_per_cell)
    sharing, device_s = request.cells_per_gpu, pass_s * hardware.devices  # of a pass on one device
    decode_s = 0.0 if is_in_memory(recipe) else DECODE_S * AUGMENTATION_COST[recipe.training.augmentation]
    gpu_bytes = 0
    if request.gpus and size and size.kept_bytes:  # formats of 16 bits keep half of what float32 keeps
        kept = size.kept_bytes // 2 if hardware.precision in HALF_PRECISIONS else size.kept_bytes
        gpu_bytes = batch * kept + ON_GPU * size.parameters
    return Needs(
        checkpoint_minutes=minutes,
        checkpoint_bytes=checkpoint * made.slots,
        cores_per_device=sharing + math.ceil(decode_s * images_per_second(recipe, device_s)),  # as fast as it trains
        memory_per_device=sharing * (PROCESS_BYTES + checkpoint),
        cache_bytes=cache.limit if (cache := request.execution.cache) else 0,
        workers=request.workers_per_cell,
        batch=batch,
        gpu_bytes=gpu_bytes,
        larger_cache=_larger_cache(recipe, request.execution, made, costs, size.width if size else 0, device_s),
    )


def _larger_cache(
    recipe: Recipe, execution: Execution, made: Forecast, costs: Costs, width: int, pass_s: float
) -> LargerCache | None:
    """The larger cache that saves most. width: numbers of a feature. pass_s: seconds of a pass on one device.

    Trials of one search see the same crops, so that all read what the first ones computed; those that run beside the
    first ones compute too. Confirm cells have seeds of their own, whose features are not stored.
    """
    if (cache := execution.cache) is None:
        return None
    found = []
    for task in recipe.tasks:
        readers = sum(
            work.jobs
            for work in made.left
            if work.kind == "search" and work.task == task and recipe.catalog.method(work.method).reads_features
        )
        beside = max(1, made.slots // len(recipe.tasks))
        later = readers - recipe.searches * min(beside, readers // recipe.searches)
        budget = recipe.training
        seen = budget.images_seen(costs.sizes(task).train, max(1, recipe.catalog.card(task).domains))
        epoch = seen / budget.epochs * width * (2 if execution.feature_dtype == "float16" else FLOAT)
        held = budget.epochs if not epoch else min(budget.epochs, int(FEATURE_SHARE * cache.limit // epoch))
        hours = later * seen * (1 - held / budget.epochs) * pass_s / 3600
        gib = math.ceil(budget.epochs * epoch / FEATURE_SHARE / 2**30)
        found.append(LargerCache(task, held, budget.epochs, gib, hours))
    best = max(found, key=lambda one: one.hours)
    return best if best.hours > 0 else None


def cost_of(made: Forecast, hardware: Hardware, gpus: int, price: float) -> dict[str, float]:
    """Cost at a price per GPU and hour, in its currency: of busy hours, and of all GPUs from start to end."""
    return {"busy": made.busy_s * hardware.devices / 3600 * price, "reserved": gpus * made.wall_s / 3600 * price}


def is_in_memory(recipe: Recipe) -> bool:
    """Whether the images of all tasks of a recipe are drawn and stay in memory, so that none is decoded."""
    return all(recipe.catalog.card(task).scale == "miniature" for task in recipe.tasks)


def images_per_second(recipe: Recipe, pass_s: float) -> float:
    """Images per second that a device trains on with the recipe's cheapest method; 0 where nothing trains or is known.

    pass_s: seconds of a pass on one device.
    """
    per_image = [passes for name in recipe.methods if (passes := recipe.catalog.method(name).epoch_passes)]
    return 1 / (pass_s * min(per_image)) if pass_s and per_image else 0.0
