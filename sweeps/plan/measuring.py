"""What ``plan --measure`` looks at on this machine: a few training steps, the memory, the driver."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.queues import SimpleQueue

import psutil
import torch
import torch.distributed as dist
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException, get_context, start_processes

from carft.config.registry import MethodCard
from carft.core.errors import UserError, size_words
from carft.core.machine import memory_limit
from carft.data.task import ImageSet
from carft.models.availability import size_of
from carft.training.context import CellContext
from carft.training.device import nvidia_smi
from carft.training.distributed import WorkerRank
from carft.training.loop import Trainer
from sweeps.plan.planning import Plan, hardware_of, plan_of
from sweeps.plan.rates import Rate, estimated
from sweeps.plan.resources import Resources
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from sweeps.search.study import Study

#: batches of one measurement, and measurements after one that warms up
BATCHES, TIMES = 4, 3
#: seconds that one measurement of training may take by the estimate: a large model on a CPU gets fewer images
MOST_S = 5.0
SHARED = "/dev/shm"
#: bytes of shared memory that NCCL's documentation advises for a container
SHARED_BYTES = 2**30


def measured_plan(
    protocol: Protocol, request: Resources, slots: int, refusals: list[UserError], log: Callable[[str], None]
) -> tuple[Plan, list[dict[str, str]]]:
    """The plan by a rate that is measured now, and what was found on this machine, a row a check.

    refusals: what is in the way, to which more is added; nothing trains where there is something before. log: gets a
    sentence before work that takes time.
    """
    rate = None
    if not refusals:
        log("Training on a few batches ...")
        try:
            rate = measured_rate(protocol.recipe, request)
        except UserError as refusal:  # such as an image that cannot be read
            refusals.append(refusal)
    plan = plan_of(protocol, request, slots, rate)
    try:
        require_memory(plan)
    except UserError as refusal:
        refusals.append(refusal)
    memory = f"{size_words(free_memory())} free, about {size_words(host_bytes(plan))} wanted"
    step = "not measured, since something is in the way" if rate is None else _step_words(plan)
    found = {"driver": _driver_words(), "memory": memory, "training step": step}
    return plan, [{"check": name, "found": words} for name, words in found.items()]


def _driver_words() -> str:
    """The versions of torch and of the driver."""
    drivers = nvidia_smi("driver_version")  # of each GPU
    words = f"torch {torch.__version__} for CUDA {torch.version.cuda or 'none'}"
    return f"{words}; driver {drivers[0].strip()} with {len(drivers)} GPUs" if drivers else words


def _step_words(plan: Plan) -> str:
    """How fast the measured cell trained, and in how much memory."""
    hardware, execution = plan.hardware, plan.request.execution
    words = f"{plan.images_per_second:,.0f} images/s of a device, one cell alone"
    if hardware.card is not None and plan.size is not None:
        share = plan.size.flop / (plan.rate.seconds * hardware.devices) / hardware.card.peak(hardware.precision)
        words += f", {share:.0%} of the card's peak"
    if plan.request.gpus and execution.workers == 1:
        words += f", {size_words(torch.cuda.max_memory_allocated())} of GPU memory at most"
    return words


def require_memory(plan: Plan) -> None:
    """Raise ``UserError`` where cells do not fit into the memory of the host or container, or their workers into
    shared memory."""
    shared = shutil.disk_usage(SHARED).total
    if shared < SHARED_BYTES and plan.request.execution.workers > 1 and plan.request.gpus:
        raise UserError(
            f"{SHARED} has {size_words(shared)}, with which NCCL fails between the workers of a cell.",
            "Start the container with --shm-size=8g.",
        )
    if free_memory() < host_bytes(plan):
        raise UserError(
            f"The cells need about {size_words(host_bytes(plan))} of memory, and {size_words(free_memory())} are free.",
            "Use fewer GPUs, or a machine with more memory.",
        )


def host_bytes(plan: Plan) -> int:
    """Bytes of host memory that the cells which run at a time need."""
    return plan.needs.memory_per_device * (plan.request.gpus or 1)


def free_memory() -> int:
    """Bytes of memory that this process may still take, of the host or the container."""
    return round(min(psutil.virtual_memory().available, memory_limit()))


def measured_rate(recipe: Recipe, request: Resources) -> Rate:
    """The rate of the recipe's dearest method that trains in epochs, else of ft, on its first task.

    One cell at a time is measured, on as many workers as each cell gets. Raises ``UserError`` where one cannot train.
    """
    try:
        return _rate_of_workers(recipe, request)
    except RuntimeError as error:  # of torch, also where memory does not suffice
        hint = "If memory is full: --accumulation 2, or more. Otherwise look at nvidia-smi and the kernel's log."
        raise UserError(f"A training step failed: {str(error).splitlines()[0]}.", hint) from error


def _rate_of_workers(recipe: Recipe, request: Resources) -> Rate:
    workers = request.execution.workers
    if workers == 1:
        return _measured_rate(recipe, request)
    outcomes = get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="carft-measure-") as folder:
        try:
            start_processes(_worker, (recipe, request, folder, outcomes), workers, start_method="spawn")
        except (ProcessExitedException, ProcessRaisedException) as error:
            raise RuntimeError(str(error)) if outcomes.empty() else outcomes.get() from None
        return outcomes.get()


def _worker(
    rank: int, recipe: Recipe, request: Resources, folder: str, outcomes: "SimpleQueue[Rate | Exception]"
) -> None:
    """Measure as one of the workers of a cell; the first one tells the rate."""
    backend = "gloo"
    if request.execution.device == "cuda":
        backend = "nccl"
        torch.cuda.set_device(rank)
    rendezvous = f"file://{folder}/rendezvous"
    try:
        dist.init_process_group(backend, rendezvous, rank=rank, world_size=request.execution.workers)
        rate = _measured_rate(recipe, request)
        dist.destroy_process_group()
    except Exception as error:
        outcomes.put(error)
        raise
    if rank == 0:
        outcomes.put(rate)


def _measured_rate(recipe: Recipe, request: Resources) -> Rate:
    execution = replace(request.execution, feature_cache=None).on_this_machine()
    execution.prepare()
    cell = recipe.cell(recipe.tasks[0], "zeroshot", {})
    context = CellContext.of(cell, execution, recipe.catalog)
    methods = [recipe.catalog.method(name) for name in (*recipe.methods, "ft")]
    dearest = max(methods, key=lambda card: card.epoch_passes)
    hardware = hardware_of(request, recipe.precision)
    count = BATCHES * recipe.training.batch_size
    size = size_of(cell.model)
    if size is not None:
        image_s = estimated(size, hardware).seconds * dearest.epoch_passes
        count = min(count, max(2, int(MOST_S / image_s)))
    images = context.task.train.rows(range(min(count, len(context.task.train))))
    passes = dearest.epoch_passes * len(images)
    first, *seconds = [seconds / passes for seconds in _epoch_seconds(recipe, dearest, context, images)]
    median = statistics.median(seconds)
    share = request.execution.cells_per_gpu  # cells that share the device
    workers = WorkerRank.current().workers
    cells = "one cell alone" if workers == 1 else f"one cell alone on {workers} workers"
    basis = f"a measurement of {TIMES} times {len(images)} images just now, on {hardware}, {cells}"
    begin_s = max(0.0, first - median) * passes
    return Rate(share * median, share * min(seconds), share * max(seconds), basis, begin_s=begin_s)


def _epoch_seconds(recipe: Recipe, card: MethodCard, context: CellContext, images: ImageSet) -> list[float]:
    """Seconds of each of several epochs over the images, the first of which warms up."""
    # passes over these images, whatever the budget
    training = replace(recipe.training, steps=None, domain_balanced=False, epochs=TIMES + 1)
    study = Study(context.task.name, card, recipe.model_copy(update={"training": training}))
    cell = study.cell(study.first_guesses, recipe.search_seed)
    context = replace(context, task=replace(context.task, train=images))
    method = card.load()(cell, context.pretrained, context.prompts)
    trainer = Trainer(cell, context, context.network(cell.reading.class_head, cell.seed), method)
    seconds = []
    for epoch in range(TIMES + 1):
        started = time.perf_counter()
        trainer.train_epoch(epoch)
        seconds.append(time.perf_counter() - started)
    return seconds
