"""The plan of a sweep: the time of the work that is left, what machines need, the workers of a cell. No Ray."""

import math
import socket
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Literal

from carft.core.machine import PCIE_4
from carft.data.decoding import MOST_DECODERS
from carft.models.availability import ModelSize, size_of
from carft.store.records import Store
from carft.store.sweep_state import read_states
from carft.training.execution import FEATURE_SHARE, hardware_facts
from sweeps.plan.rates import PHOTO, Costs, Hardware, Rates, estimated, newest, recorded
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
#: assumed share of the speed of a card's link that an all-reduce reaches; ``doctor`` measures the speed
LINK_SHARE = 0.5
#: CPU seconds to decode and crop a photo of :data:`PHOTO` pixels, measured once on one core of an AMD EPYC
DECODE_S = 2.3e-3
#: seconds of an image in which a process holds Python's lock, so that its decoders wait for each other; that of clipood
#: is assumed to lie between the others, which were measured
LOCKED_S = {"crop": 0.17e-3, "clipood": 0.35e-3, "domainbed": 0.60e-3}
#: CPU time of a photo with an augmentation over that with ``crop``, decoding included (benchmarks/input.py)
AUGMENTATION_COST = {"crop": 1.0, "clipood": 2.0, "domainbed": 3.9}
#: bytes of host memory of a process that computes a cell, without its checkpoint: torch with CUDA, batches ahead
PROCESS_BYTES = 4 * 2**30
#: bytes of a gradient for each trained number
GRADIENT = 4
#: bytes in a checkpoint for each trained number: weight and AdamW's two moments
IN_CHECKPOINT = 12


class InputBound(StrEnum):
    """Why a device waits for images, however many cores there are; more processes, which share it, help."""

    LOCK = "lock"
    """Python's lock, which an augmentation holds for part of the time of an image."""
    DECODERS = "decoders"
    """The decoding threads that a process has at most."""


@dataclass(frozen=True)
class LargerCache:
    """What a cache of features that holds all epochs of a task would save."""

    task: str
    held: int
    """Epochs that the cache of this request holds, of all ``epochs``."""
    epochs: int
    gib: int
    """Size of the larger cache."""
    hours: float
    """Hours of a device that it saves at most."""


@dataclass(frozen=True)
class Needs:
    """What the machines of a sweep need."""

    checkpoint_minutes: float
    """Minutes between checkpoints; 0 for none."""
    checkpoint_bytes: int
    """Of all cells that run at a time, in the results folder; 0 where the size of the model is unknown."""
    images_wanted: float
    """Images per second that a device trains on; 0 where nothing is known, or nothing trains."""
    images_decoded: float
    """Images per second that the processes of a device decode at most, however many cores there are; 0 for no limit."""
    input_bound: InputBound | None
    """Why it waits for images with any number of cores; None where it does not."""
    cells_per_gpu: int
    """Cells on each GPU that would deliver its images; 0 where it waits for none, or a cell has several workers."""
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
    larger_cache: LargerCache | None
    """Of the task for which it saves most; None where none saves anything."""


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
    wall_s: float
    """Of the sweep, from ``low_s`` to ``high_s``."""
    low_s: float
    high_s: float
    rates: Rates
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

    @property
    def busy_s(self) -> float:
        """Seconds in which all cells to run compute, one after another."""
        other = OtherTimes.of(self.recipe, self.size, self.hardware, self.costs)
        return sum(work.jobs * computing_seconds(work, self.rates, other) for work in self.left)

    @property
    def device_hours(self) -> float:
        """Hours of GPUs, or of cores, in which cells compute."""
        return self.busy_s * self.hardware.devices / 3600

    @property
    def pass_s(self) -> float:
        """Seconds of one pass of a cell that trains, on one device; 0 where they are not known."""
        return self.rates.trained.seconds * self.hardware.devices

    @cached_property
    def needs(self) -> Needs:
        """What the machines need for what is left."""
        recipe, request, size = self.recipe, self.request, self.size
        minutes, sharing = request.execution.checkpoint_minutes, request.execution.cells_per_gpu
        checkpoint = 0
        if size and minutes:
            checkpoint = IN_CHECKPOINT * size.parameters
        batch = math.ceil(recipe.training.batch_size / request.execution.workers)
        decode_s = decoding_seconds(recipe, self.costs)
        wanted, decoded = images_per_second(recipe, self.pass_s), 0.0
        delivered, bound, cells = wanted, None, 0
        if decode_s:
            least_s, reason = least_seconds(recipe, decode_s)
            decoded = sharing / least_s
            delivered = min(wanted, decoded)
            if decoded < wanted:
                bound = reason
            if bound and request.gpus and request.execution.workers == 1:
                cells = math.ceil(wanted * least_s)
        gpu_bytes = 0
        if request.gpus and size:
            gpu_bytes = size.training_bytes(batch, recipe.precision)
        cache = request.execution.cache
        return Needs(
            checkpoint_minutes=minutes,
            checkpoint_bytes=checkpoint * self.slots,
            images_wanted=wanted,
            images_decoded=decoded,
            input_bound=bound,
            cells_per_gpu=cells,
            cores_per_device=sharing + math.ceil(decode_s * delivered),
            memory_per_device=sharing * (PROCESS_BYTES + checkpoint),
            cache_bytes=cache.limit if cache else 0,
            workers=request.execution.workers,
            batch=batch,
            gpu_bytes=gpu_bytes,
            larger_cache=self._larger_cache(),
        )

    def _larger_cache(self) -> LargerCache | None:
        """The larger cache that saves most.

        Trials of one search see the same crops, so that all read what the first ones computed; those that run beside
        the first ones compute too. Confirm cells have seeds of their own, whose features are not stored.
        """
        recipe, execution, budget = self.recipe, self.request.execution, self.recipe.training
        cache = execution.cache
        if cache is None:
            return None
        width = self.size.width if self.size else 0  # numbers of a feature
        number_bytes = 2 if execution.feature_dtype == "float16" else 4
        readers: Counter[str] = Counter()  # task -> search jobs that read features
        for work in self.left:
            if work.kind == "search" and recipe.catalog.method(work.method).reads_features:
                readers[work.task] += work.jobs
        beside = max(1, self.slots // len(recipe.tasks))  # jobs of a task that run at a time
        best: LargerCache | None = None
        for task in recipe.tasks:
            later = readers[task] - recipe.searches * min(beside, readers[task] // recipe.searches)
            seen = budget.images_seen(self.costs.sizes(task).train, max(1, recipe.catalog.card(task).domains))
            epoch_bytes = seen / budget.epochs * width * number_bytes
            held = budget.epochs
            if epoch_bytes:
                held = min(held, int(FEATURE_SHARE * cache.limit // epoch_bytes))
            hours = later * seen * (1 - held / budget.epochs) * self.pass_s / 3600
            gib = math.ceil(budget.epochs * epoch_bytes / FEATURE_SHARE / 2**30)
            if hours > (best.hours if best else 0):
                best = LargerCache(task, held, budget.epochs, gib, hours)
        return best


@dataclass(frozen=True)
class OtherTimes:
    """Seconds of a training that its passes do not count."""

    exchange_s: float
    """Of a step, in which the workers of a cell sum up gradients."""
    image_s: float
    """Of an image, in which all workers of a cell decode it at least, while they compute."""

    @staticmethod
    def of(recipe: Recipe, size: ModelSize | None, hardware: Hardware, costs: Costs) -> "OtherTimes":
        """Those of a recipe; no image is waited for on a CPU, whose cells are slower."""
        image_s = 0.0
        decode_s = decoding_seconds(recipe, costs)
        if decode_s and hardware.device == "cuda":
            image_s = least_seconds(recipe, decode_s)[0] / hardware.workers
        return OtherTimes(exchange_seconds(size, hardware), image_s)


def decoding_seconds(recipe: Recipe, costs: Costs) -> float:
    """CPU seconds to decode and crop an image of the recipe's task with the largest ones; 0 where none is decoded."""
    if is_in_memory(recipe):
        return 0.0
    pixels = max(costs.pixels(task) for task in recipe.tasks)
    # an augmentation beyond a crop works on the view, whatever the size of the image
    return DECODE_S * (pixels / PHOTO + AUGMENTATION_COST[recipe.training.augmentation] - 1)


def least_seconds(recipe: Recipe, decode_s: float) -> tuple[float, InputBound]:
    """Seconds of an image in a process that has as many cores as it can use, and what they are set by.

    decode_s: CPU seconds of an image.
    """
    locked_s, decoded_s = LOCKED_S[recipe.training.augmentation], decode_s / MOST_DECODERS
    if locked_s > decoded_s:
        return locked_s, InputBound.LOCK
    return decoded_s, InputBound.DECODERS


def computing_seconds(
    work: PendingWork, rates: Rates, other: OtherTimes, end: Literal["seconds", "low", "high"] = "seconds"
) -> float:
    """Seconds in which one job computes, or waits for images, by the median or an end of the rates."""
    seconds: float = work.passes * getattr(rates.of(work.trains), end)
    if rates.alone:
        seconds = max(seconds, work.seen * other.image_s) + work.steps * other.exchange_s
    return seconds


def exchange_seconds(size: ModelSize | None, hardware: Hardware) -> float:
    """Seconds in which the workers of a cell sum up the gradients of a step; 0 for one, and where no size is known.

    An upper estimate: it is not hidden behind the backward pass.
    """
    if size is None:
        return 0.0
    card, workers = hardware.card, hardware.workers
    speed = LINK_SHARE * (card.link if card else PCIE_4)
    return 2 * (workers - 1) / workers * GRADIENT * size.parameters / speed


def plan_of(protocol: Protocol, request: Resources, slots: int, rates: Rates | None = None) -> Plan:
    """The plan of what ``protocol`` has left. slots: cells at a time.

    rates: by default those of records of the model on this hardware, else of the model's size. The range of the time
    reaches as far as earlier sweeps of the results folder missed theirs.
    """
    recipe, store, model = protocol.recipe, protocol.store, protocol.recipe.starting_weights()[0][0]
    hardware, size = hardware_of(request, recipe.precision), size_of(model)
    costs = Costs(store.catalog, request.execution)
    pass_rates = rates or recorded(newest(store, model, costs), hardware, costs, size) or estimated(size, hardware)
    left, total, done = tuple(pending_work(protocol, size, costs)), protocol.total(), len(protocol.done)
    pruned = len(protocol.pruned)

    other = OtherTimes.of(recipe, size, hardware, costs)
    start_s = 0.0
    if hardware.workers > 1 and pass_rates.trained.seconds:
        start_s = TRAIN_START_S

    def wall(end: Literal["seconds", "low", "high"]) -> float:
        """Seconds of the sweep with the median, low or high end of the rates."""
        length = simulate(left, slots, lambda work: start_s + computing_seconds(work, pass_rates, other, end))
        return START_S + length if length else 0.0

    wall_s = wall("seconds")
    least, most = misses(store, wall_s, pass_rates.estimate)
    return Plan(
        recipe=recipe,
        request=request,
        slots=slots,
        total=total,
        done=done,
        failed=max(0, total - done - pruned - sum(work.cells for work in left)),
        pruned=pruned,
        left=left,
        wall_s=wall_s,
        low_s=min(wall("low"), least * wall_s),
        high_s=max(wall("high") * OVERHEAD, most * wall_s),
        rates=pass_rates,
        size=size,
        hardware=hardware,
        costs=costs,
    )


def misses(store: Store, wall_s: float, is_estimate: bool) -> tuple[float, float]:
    """Smallest and largest ratio of the duration of an earlier sweep to its forecast; (1, 1) without such a sweep.

    Counted are sweeps on this machine that ended without a failure, whose forecast rested on a measurement unless
    ``is_estimate``, and was at least a tenth of ``wall_s``: much of a short sweep is the start of Ray.
    """
    ratios = []
    for state in read_states(store):
        ended_well = state.outcome == "done" and not state.counts.failed
        is_alike = state.host == socket.gethostname() and state.estimate == is_estimate
        if not (ended_well and is_alike):
            continue
        if state.ended and state.forecast_s and state.forecast_s >= wall_s / 10:
            ratios.append((state.ended - state.started) / state.forecast_s)
    return min(ratios, default=1.0), max(ratios, default=1.0)


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
        rates = estimated(size_of(recipe.starting_weights()[0][0]), hardware_of(wider, recipe.precision))
        plan = plan_of(protocol, wider, request.gpus // workers, rates)
        if best_s >= MIN_SPEEDUP * plan.wall_s:
            request, best_s = wider, plan.wall_s
        longest = max((work.passes for work in plan.left if work.trains), default=0.0)
        if workers == 1 and longest * rates.trained.seconds <= 3600 * LONG_H:
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
    return Hardware(device, workers, precision, machine, sharing, request.gpu_model)


def is_in_memory(recipe: Recipe) -> bool:
    """Whether the images of all tasks of a recipe are drawn and stay in memory, so that none is decoded."""
    return all(recipe.catalog.card(task).scale == "miniature" for task in recipe.tasks)


def images_per_second(recipe: Recipe, pass_s: float) -> float:
    """Images per second that a device trains on with the recipe's cheapest method; 0 where nothing trains or is known.

    pass_s: seconds of a pass on one device.
    """
    cheapest = math.inf  # passes of an image
    for name in recipe.methods:
        passes = recipe.catalog.method(name).epoch_passes
        if passes:
            cheapest = min(cheapest, passes)
    if not pass_s:
        return 0.0
    return 1 / (pass_s * cheapest)
