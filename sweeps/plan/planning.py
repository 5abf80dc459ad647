"""The plan of a sweep: its forecast, what its machines need, and the workers of a cell where nobody says. No Ray."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from carft.config.settings import HALF_PRECISIONS
from carft.models.availability import ModelSize, size_of
from carft.training.execution import hardware_name
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
#: bytes in a checkpoint for each trained number: weight and AdamW's two moments
IN_CHECKPOINT = 12
#: bytes on a GPU for each trained number: weight, gradient and AdamW's two moments, and the pretrained weight
ON_GPU = 20


@dataclass(frozen=True)
class Needs:
    """What the machines of a sweep need."""

    checkpoint_minutes: float
    """Minutes between checkpoints; 0 for none."""
    checkpoint_bytes: int
    """Of all cells that run at a time, in the results folder; 0 where the size of the model is unknown."""
    cores_per_device: int
    """CPU cores for each GPU, or for each cell on a CPU: one that computes, the others decode."""
    memory_per_device: int
    """Bytes of host memory for each GPU, or for each cell on a CPU."""
    cache_bytes: int
    """Bytes of disk on every node for the cache of features."""
    workers: int
    batch: int
    """Images of a batch for one worker."""
    gpu_bytes: int
    """Bytes of GPU memory of a worker that computes its batch in one part; 0 where unknown. An upper estimate."""


@dataclass(frozen=True)
class Plan:
    """A forecast, what it rests on and what it needs."""

    forecast: Forecast
    rates: Rates
    model: str
    size: ModelSize | None
    """Of the model; None where it is not known."""
    hardware: Hardware
    needs: Needs
    costs: Costs

    @property
    def device_hours(self) -> float:
        """Hours of GPUs, or of cores, in which cells compute."""
        return self.forecast.busy_s * self.hardware.devices / 3600


def plan_of(protocol: Protocol, request: Resources, slots: int, rates: Rates | None = None) -> Plan:
    """The plan of what ``protocol`` has left. slots: cells at a time.

    rates: by default those of records of the model on this hardware, else of the model's size.
    """
    recipe, model = protocol.recipe, starts(protocol.recipe)[0][0]
    hardware, size = hardware_of(request, recipe.precision), size_of(model)
    costs = Costs(protocol.store.catalog, request.execution)
    rates = rates or recorded(newest(protocol.store, model, costs), hardware, costs, size) or estimated(size, hardware)
    needs = needs_of(recipe, request, slots, hardware, size, rates.trained.seconds)
    return Plan(forecast(protocol, slots, rates, size, costs), rates, model, size, hardware, needs, costs)


def choose_workers_per_cell(request: Resources, protocol: Protocol) -> Resources:
    """The request with the number of workers of each cell that ends the sweep soonest, by the size of the model alone.

    One worker without GPUs, with shared GPUs, for cells of less than an hour, and for methods that need whole batches.
    A recipe whose search cells are on record keeps their number, so that one search is not run partly with one number
    and partly with another.
    """
    if request.gpus < 2 or request.cells_per_gpu > 1:
        return request
    recipe = protocol.recipe
    searched = (cell.id for study in protocol.studies for cell in study.trial_cells if cell.id in protocol.done)
    if (cell := next(searched, None)) is not None:
        before = int(protocol.store.read(cell).provenance["execution"]["workers"])
        return _with(request, before) if before <= request.gpus else request
    size, costs = size_of(starts(recipe)[0][0]), Costs(protocol.store.catalog, request.execution)
    best_s, methods = math.inf, [recipe.catalog.method(name) for name in recipe.methods]
    for workers in (n for n in range(1, request.gpus + 1) if request.gpus % n == 0):
        if not all(method.allows_parts(workers, request.execution.accumulation) for method in methods):
            break
        wider = _with(request, workers)
        rates = estimated(size, hardware_of(wider, recipe.precision))
        predicted = forecast(protocol, request.gpus // workers, rates, size, costs)
        if best_s >= MIN_SPEEDUP * predicted.wall_s:
            request, best_s = wider, predicted.wall_s
        longest = max((work.passes for work in predicted.left if work.trains), default=0.0)
        if workers == 1 and longest * rates.trained.seconds <= 3600 * LONG_H:
            break
    return request


def _with(request: Resources, workers: int) -> Resources:
    return replace(request, execution=replace(request.execution, workers=workers))


def hardware_of(request: Resources, precision: str) -> Hardware:
    """The requested hardware: this machine, or the machines of a cluster, of which the GPU card may be named."""
    device = request.execution.device
    here = hardware_name(device)
    elsewhere = request.address is not None or (device == "cuda" and "gpu" not in here) or bool(request.gpu_model)
    machine = None if elsewhere else here
    workers, sharing = request.workers_per_cell, request.cells_per_gpu
    return Hardware(device, workers, precision, machine, sharing, request.gpu_model)


def needs_of(
    recipe: Recipe, request: Resources, slots: int, hardware: Hardware, size: ModelSize | None, pass_s: float
) -> Needs:
    """The needs of a sweep. slots: cells at a time. pass_s: seconds of one pass of a cell that trains, 0 if unknown."""
    minutes, sharing = request.execution.checkpoint_minutes, request.cells_per_gpu
    checkpoint = IN_CHECKPOINT * size.parameters if size and minutes else 0
    batch = math.ceil(recipe.training.batch_size / request.workers_per_cell)
    decode_s = 0.0 if is_in_memory(recipe) else DECODE_S * AUGMENTATION_COST[recipe.training.augmentation]
    wanted = images_per_second(recipe, pass_s * hardware.devices)
    gpu_bytes = 0
    if request.gpus and size and size.kept_bytes:  # formats of 16 bits keep half of what float32 keeps
        kept = size.kept_bytes // 2 if hardware.precision in HALF_PRECISIONS else size.kept_bytes
        gpu_bytes = batch * kept + ON_GPU * size.parameters
    return Needs(
        checkpoint_minutes=minutes,
        checkpoint_bytes=checkpoint * slots,
        cores_per_device=sharing + math.ceil(decode_s * wanted),
        memory_per_device=sharing * (PROCESS_BYTES + checkpoint),
        cache_bytes=cache.limit if (cache := request.execution.cache) else 0,
        workers=request.workers_per_cell,
        batch=batch,
        gpu_bytes=gpu_bytes,
    )


def is_in_memory(recipe: Recipe) -> bool:
    """Whether the images of all tasks of a recipe are drawn and stay in memory, so that none is decoded."""
    return all(recipe.catalog.card(task).scale == "miniature" for task in recipe.tasks)


def images_per_second(recipe: Recipe, pass_s: float) -> float:
    """Images per second that a device trains on with the recipe's cheapest method; 0 where nothing trains or is known.

    pass_s: seconds of a pass on one device.
    """
    per_image = [passes for name in recipe.methods if (passes := recipe.catalog.method(name).epoch_passes)]
    return 1 / (pass_s * min(per_image)) if pass_s and per_image else 0.0
