"""The plan of a sweep: the time of the work that is left, what machines need, the workers of a cell. No Ray."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

from carft.core.machine import PCIE_4
from carft.models.availability import ModelSize, size_of
from carft.training.execution import hardware_facts
from sweeps.plan.rates import Costs, Hardware, Rate, estimated, newest, recorded
from sweeps.plan.resources import Resources
from sweeps.plan.work import PendingWork, pending_work, simulate
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol

#: seconds until the first cell runs: start of Ray, imports, the model
START_S = 15.0
#: factor of the upper end of the range for what no record holds: opening data, writing records, handing out jobs
OVERHEAD = 1.5
#: hours of the longest cell on one GPU above which a second GPU is worth its overhead
LONG_H = 1.0
#: speedup of a sweep from which on more workers are taken: sums of several workers round differently
MIN_SPEEDUP = 1.15
#: images of a batch that a worker gets at least: with fewer a GPU waits for the CPU that starts its kernels
LEAST_IMAGES = 64
#: seconds in which Ray Train starts the workers of a job; their GPUs wait
TRAIN_START_S = 18.0
#: assumed share of the speed of a card's link that an all-reduce reaches
LINK_SHARE = 0.5
#: CPU seconds to decode and crop a photo of 500 x 375 pixels, measured once on one core of an AMD EPYC
DECODE_S = 2.3e-3
#: CPU time of a photo with an augmentation over that with ``crop``, decoding included (benchmarks/input.py)
AUGMENTATION_COST = {"crop": 1.0, "clipood": 2.0, "domainbed": 3.9}
#: bytes of host memory of a process that computes a cell, without its checkpoint: torch with CUDA, batches ahead
PROCESS_BYTES = 4 * 2**30
#: bytes of a gradient for each trained number
GRADIENT = 4


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
    """Bytes of GPU memory of a worker that computes its batch in one part; 0 where unknown. An estimate,
    which a method that trains the text tower too exceeds by up to a half."""


@dataclass(frozen=True)
class Plan:
    """What is left of a sweep and how long it takes. Times are in seconds, and 0 when no rate is known."""

    recipe: Recipe
    request: Resources
    slots: int
    """Cells at a time at most."""
    total: int
    """Cells of the sweep, of which ``done`` have a record."""
    done: int
    failed: int
    """Cells that failed before and do not run again, and cells that wait for those."""
    pruned: int
    """Cells of trials that were pruned."""
    left: tuple[PendingWork, ...]
    rate: Rate
    size: ModelSize | None
    """Of the model; None where it is not known."""
    hardware: Hardware
    costs: Costs

    @property
    def model(self) -> str:
        """The model of the first task."""
        return self.recipe.starting_weights()[0][0]

    @property
    def cells(self) -> int:
        """Cells to run."""
        return sum(work.cells for work in self.left)

    @property
    def steps(self) -> int:
        """Optimisation steps to run."""
        return sum(work.jobs * work.steps for work in self.left)

    @property
    def bytes(self) -> int:
        """Bytes that the sweep will write, without checkpoints."""
        return round(sum(work.jobs * work.bytes for work in self.left))

    @cached_property
    def wall_s(self) -> float:
        """Seconds of the sweep, from ``low_s`` to ``high_s``."""
        return self._wall_seconds(self.rate.seconds)

    @property
    def low_s(self) -> float:
        return self._wall_seconds(self.rate.low)

    @property
    def high_s(self) -> float:
        return self._wall_seconds(self.rate.high) * OVERHEAD

    def _wall_seconds(self, pass_s: float) -> float:
        start_s = 0.0
        if self.hardware.workers > 1 and self.rate.seconds:
            start_s = TRAIN_START_S
        length = simulate(self.left, self.slots, lambda work: start_s + self._job_seconds(work, pass_s))
        return START_S + length if length else 0.0

    def _job_seconds(self, work: PendingWork, pass_s: float) -> float:
        """Seconds in which a job computes. A measured rate includes the exchange of gradients."""
        seconds = work.passes * pass_s
        if work.trains:
            seconds += self.rate.begin_s
        if self.rate.estimate:
            seconds += work.steps * exchange_seconds(self.size, self.hardware)
        return seconds

    @property
    def busy_s(self) -> float:
        """Seconds in which all cells to run compute, one after another."""
        return sum(work.jobs * self._job_seconds(work, self.rate.seconds) for work in self.left)

    @property
    def device_hours(self) -> float:
        """Hours of GPUs, or of cores, in which cells compute."""
        return self.busy_s * self.hardware.devices / 3600

    @property
    def images_per_second(self) -> float:
        """Images that a device trains on with the recipe's cheapest method; 0 where nothing trains or is known."""
        catalog = self.recipe.catalog
        passes = [catalog.method(name).epoch_passes for name in self.recipe.methods]
        image_s = min(filter(None, passes), default=0.0) * self.rate.seconds * self.hardware.devices
        return 1 / image_s if image_s else 0.0

    @cached_property
    def needs(self) -> Needs:
        """What the machines need for what is left."""
        recipe, execution, size = self.recipe, self.request.execution, self.size
        if size and any(recipe.catalog.method(name).trains_text for name in recipe.methods):
            size = size.with_text
        checkpoint = 0
        if size and execution.checkpoint_minutes:
            checkpoint = size.checkpoint_bytes
        batch = math.ceil(recipe.training.batch_size / execution.workers)
        decode_s = 0.0
        if not all(recipe.catalog.card(task).scale == "miniature" for task in recipe.tasks):  # drawn, and in memory
            decode_s = DECODE_S * AUGMENTATION_COST[recipe.training.augmentation]
        gpu_bytes = 0
        if self.request.gpus and size:
            gpu_bytes = size.training_bytes(batch, recipe.precision)
        return Needs(
            checkpoint_minutes=execution.checkpoint_minutes,
            checkpoint_bytes=checkpoint * self.slots,
            cores_per_device=execution.cells_per_gpu + math.ceil(decode_s * self.images_per_second),
            memory_per_device=execution.cells_per_gpu * (PROCESS_BYTES + checkpoint),
            cache_bytes=execution.cache.limit if execution.cache else 0,
            workers=execution.workers,
            batch=batch,
            gpu_bytes=gpu_bytes,
        )


def exchange_seconds(size: ModelSize | None, hardware: Hardware) -> float:
    """Seconds in which the workers of a cell sum up the gradients of a step; 0 for one, and where no size is known.

    An upper estimate: it is not hidden behind the backward pass.
    """
    if size is None:
        return 0.0
    card, workers = hardware.card, hardware.workers
    speed = LINK_SHARE * (card.link if card else PCIE_4)
    return 2 * (workers - 1) / workers * GRADIENT * size.parameters / speed


def plan_of(protocol: Protocol, request: Resources, slots: int, rate: Rate | None = None) -> Plan:
    """The plan of what ``protocol`` has left. slots: cells at a time.

    rate: by default that of records of the model on this hardware, else of the model's size.
    """
    recipe, store, model = protocol.recipe, protocol.store, protocol.recipe.starting_weights()[0][0]
    hardware, size = hardware_of(request, recipe.precision), size_of(*recipe.starting_weights()[0])
    costs = Costs(store.catalog, request.execution)
    rate = rate or recorded(newest(store, model, costs), hardware, costs)
    rate = rate or estimated(size, hardware)
    left, total, done = tuple(pending_work(protocol, size, costs)), protocol.total(), len(protocol.done)
    pruned = len(protocol.pruned)
    return Plan(
        recipe=recipe,
        request=request,
        slots=slots,
        total=total,
        done=done,
        failed=max(0, total - done - pruned - sum(work.cells for work in left)),
        pruned=pruned,
        left=left,
        rate=rate,
        size=size,
        hardware=hardware,
        costs=costs,
    )


def choose_workers_per_cell(request: Resources, protocol: Protocol) -> Resources:
    """The request with the number of workers of each cell that ends the sweep soonest, by the size of the model alone.

    The workers of a cell are on one node and get :data:`LEAST_IMAGES` of a batch each. One worker without GPUs, with
    shared GPUs, for cells of less than an hour, and for methods that need whole batches.
    A recipe whose search cells are on record keeps their number, so that one search is not run partly with one number
    and partly with another.
    """
    if request.gpus < 2 or request.execution.cells_per_gpu > 1:
        return request
    recipe = protocol.recipe
    for study in protocol.studies:
        for cell in study.trial_cells:
            if cell.id in protocol.done:
                before = protocol.store.read(cell.id).made_with.execution.workers
                return _with(request, before) if before <= request.gpus else request
    best_s, methods = math.inf, [recipe.catalog.method(name) for name in recipe.methods]
    of_a_node = min(request.gpus, request.node_gpus or request.gpus)
    most = max(1, min(of_a_node, recipe.training.batch_size // LEAST_IMAGES))
    for workers in range(1, most + 1):
        if request.gpus % workers or of_a_node % workers:
            continue
        if not all(method.allows_parts(workers, request.execution.accumulation) for method in methods):
            break
        wider = _with(request, workers)
        size = size_of(*recipe.starting_weights()[0])
        rate = estimated(size, hardware_of(wider, recipe.precision))
        plan = plan_of(protocol, wider, request.gpus // workers, rate)
        if best_s >= MIN_SPEEDUP * plan.wall_s:
            request, best_s = wider, plan.wall_s
        longest = max((work.passes for work in plan.left if work.trains), default=0.0)
        if workers == 1 and longest * rate.seconds <= 3600 * LONG_H:
            break
    return request


def _with(request: Resources, workers: int) -> Resources:
    return replace(request, execution=replace(request.execution, workers=workers))


def hardware_of(request: Resources, precision: str) -> Hardware:
    """The requested hardware: this machine, or the machines of a cluster, of which the GPU card may be named."""
    device = request.execution.device
    here = hardware_facts(device)
    has_no_gpu = device == "cuda" and "gpu" not in here
    is_elsewhere = request.address is not None or has_no_gpu or request.gpu_model
    machine = None if is_elsewhere else here
    workers, sharing = request.execution.workers, request.execution.cells_per_gpu
    return Hardware(device, workers, precision, machine, sharing, request.gpu_model, request.execution.compile)
