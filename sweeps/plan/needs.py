"""What the machines of a sweep need beside time. No Ray.

Cores for decoding and memory of a process are estimates: they are computed from the constants below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from carft.config.settings import HALF_PRECISIONS
from carft.models.availability import ModelSize
from carft.training.execution import FEATURE_SHARE, Execution
from sweeps.plan.forecast import Forecast
from sweeps.plan.rates import Hardware
from sweeps.plan.work import Costs
from sweeps.ray_backend.connect import Resources
from sweeps.recipes import Recipe

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
    one = COPIES * FLOAT * size.parameters if size and minutes else 0
    batch = math.ceil(recipe.training.batch_size / request.workers_per_cell)
    sharing, second = request.cells_per_gpu, pass_s * hardware.devices  # of a pass on one device
    gpu_bytes = 0
    if request.gpus and size and size.kept_bytes:  # formats of 16 bits keep half of what float32 keeps
        kept = size.kept_bytes // 2 if hardware.precision in HALF_PRECISIONS else size.kept_bytes
        gpu_bytes = batch * kept + ON_GPU * size.parameters
    return Needs(
        checkpoint_minutes=minutes,
        checkpoint_bytes=one * made.slots,
        cores_per_device=sharing + _decoders(recipe, second),
        memory_per_device=sharing * (PROCESS_BYTES + one),
        cache_bytes=cache.limit if (cache := request.execution.cache) else 0,
        workers=request.workers_per_cell,
        batch=batch,
        gpu_bytes=gpu_bytes,
        larger_cache=_larger_cache(recipe, request.execution, made, costs, size.width if size else 0, second),
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
        budget = recipe.training_of()
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


def _decoders(recipe: Recipe, pass_s: float) -> int:
    """Cores that decode as fast as one device trains. pass_s: seconds of a pass on one device."""
    decode_s = 0.0 if is_in_memory(recipe) else DECODE_S * AUGMENTATION_COST[recipe.training.augmentation]
    return math.ceil(decode_s * images_per_second(recipe, pass_s))
