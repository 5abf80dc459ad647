"""One measured step: how long a pass of a recipe's cells takes on this machine."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.queues import SimpleQueue

import torch
import torch.distributed as dist
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException, get_context, start_processes

from carft.config.registry import MethodCard
from carft.data.task import ImageSet
from carft.models.availability import size_of
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank
from carft.training.loop import Trainer
from sweeps.plan.planning import hardware_of
from sweeps.plan.rates import Rate, estimated
from sweeps.plan.resources import Resources
from sweeps.recipes.recipe import Recipe
from sweeps.search.study import Study

#: batches of one measurement, and measurements after one that warms up
BATCHES, TIMES = 4, 3
#: seconds that one measurement of training may take by the estimate: a large model on a CPU gets fewer images
MOST_S = 5.0


def measured_rate(recipe: Recipe, request: Resources) -> Rate:
    """The rate of the recipe's dearest method that trains in epochs, else of prediction, on its first task.

    One cell at a time is measured, on as many workers as each cell gets. Raises what one of them raises.
    """
    workers = request.execution.workers
    if workers == 1:
        return _measured_rate(recipe, request)
    outcomes = get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="carft-doctor-") as folder:
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
    dearest = max(map(recipe.catalog.method, recipe.methods), key=lambda card: card.epoch_passes)
    hardware = hardware_of(request, recipe.precision)
    count = BATCHES * recipe.training.batch_size
    size = size_of(cell.model)
    if size is not None:
        image_s = estimated(size, hardware).seconds * max(1.0, dearest.epoch_passes)
        count = min(count, max(2, int(MOST_S / image_s)))
    images = context.task.train.rows(range(min(count, len(context.task.train))))
    if dearest.epoch_passes:
        first, *seconds = _training_seconds_per_pass(recipe, dearest, context, images)
    else:
        network = context.network()
        first, *seconds = _measured(lambda _: context.predict(cell, network, images), len(images))
    median = statistics.median(seconds)
    begin_s = max(0.0, first - median) * dearest.epoch_passes * len(images)
    share = request.execution.cells_per_gpu  # cells that share the device
    workers = WorkerRank.current().workers
    cells = "one cell alone" if workers == 1 else f"one cell alone on {workers} workers"
    basis = f"a measurement of {TIMES} times {len(images)} images just now, on {hardware}, {cells}"
    return Rate(share * median, share * min(seconds), share * max(seconds), basis, begin_s=begin_s)


def _training_seconds_per_pass(recipe: Recipe, card: MethodCard, context: CellContext, images: ImageSet) -> list[float]:
    """Seconds per pass of each measurement of training with a method."""
    # passes over these images, whatever the budget
    training = replace(recipe.training, steps=None, domain_balanced=False, epochs=TIMES + 1)
    study = Study(context.task.name, card, recipe.model_copy(update={"training": training}))
    cell = study.cell(study.first_guesses, recipe.search_seed)
    context = replace(context, task=replace(context.task, train=images))
    method = card.load()(cell, context.pretrained, context.prompts)
    trainer = Trainer(cell, context, context.network(cell.reading.class_head, cell.seed), method)
    return _measured(trainer.train_epoch, card.epoch_passes * len(images))


def _measured(run: Callable[[int], object], passes: float) -> list[float]:
    """Seconds per pass of each measurement, the first of which warms up.

    run: called with the number of the measurement. passes: of one call.
    """
    seconds = []
    for number in range(TIMES + 1):
        started = time.perf_counter()
        run(number)
        seconds.append((time.perf_counter() - started) / passes)
    return seconds
