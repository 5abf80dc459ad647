"""Measures the rates of a sweep's cells on this machine with a few batches. Writes nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from carft.config.registry import MethodCard
from carft.data.task import ImageSet
from carft.models.availability import size_of
from carft.training.context import CellContext
from carft.training.loop import Trainer
from sweeps.plan.planning import hardware_of
from sweeps.plan.rates import Rate, Rates, estimated
from sweeps.ray_backend.connect import Resources
from sweeps.recipes import Recipe
from sweeps.search.study import Study

#: batches of one measurement
BATCHES = 4
#: measurements of each method, after one that warms up
TIMES = 3
#: seconds that one measurement of training may take by the estimate: a large model on a CPU gets fewer images
MOST_S = 5.0


def calibrated(recipe: Recipe, request: Resources) -> Rates:
    """Rates of the recipe's methods that train in epochs, and of prediction, on its first task.

    One cell at a time is measured, on one worker.
    """
    execution = replace(request.execution, workers=1, feature_cache=None).on_this_machine()
    execution.prepare()
    context = CellContext.of(cell := recipe.cell(recipe.tasks[0], "zeroshot", {}), execution, recipe.catalog)
    train = context.task.train
    images = train.rows(range(min(BATCHES * recipe.training.batch_size, len(train), _most_images(recipe, request))))
    network = context.network()
    predicting = _measured(lambda _: context.predict(cell, network, images), len(images))
    trained = [card for card in map(recipe.catalog.method, recipe.methods) if card.epoch_passes]
    training = [seconds for card in trained for seconds in _training(recipe, card, context, images)]
    share = request.cells_per_gpu / request.workers_per_cell
    hardware = hardware_of(request, recipe.precision)
    basis = f"a measurement of {TIMES} times {len(images)} images just now, on {hardware}, one cell alone"
    return Rates(_rate(training or predicting, share), _rate(predicting, share), basis)


def _most_images(recipe: Recipe, request: Resources) -> int:
    """The images that the recipe's dearest method trains on in :data:`MOST_S` by the estimate; at least 2."""
    size, hardware = size_of(recipe.cell(recipe.tasks[0], "zeroshot", {}).model), hardware_of(request, recipe.precision)
    passes = max(1.0, *(recipe.catalog.method(name).epoch_passes for name in recipe.methods))
    if size is None:
        return BATCHES * recipe.training.batch_size
    return max(2, int(MOST_S / (estimated(size, hardware).trained.seconds * hardware.devices * passes)))


def _rate(seconds: Sequence[float], share: float) -> Rate:
    """The rate of measurements. share: cells that share the device of a worker."""
    return Rate(share * statistics.median(seconds), share * min(seconds), share * max(seconds))


def _training(recipe: Recipe, card: MethodCard, context: CellContext, images: ImageSet) -> list[float]:
    """Seconds per pass of each measurement of training with a method."""
    # passes over these images, whatever the budget
    training = replace(recipe.training, steps=None, domain_balanced=False, epochs=TIMES + 1)
    study = Study(context.task.name, card, recipe.model_copy(update={"training": training}))
    cell = study.cell({name: limits.first_guess for name, limits in study.space.items()}, recipe.search_seed)
    context = replace(context, task=replace(context.task, train=images))
    method = card.load()(cell, context.pretrained, context.prompts)
    trainer = Trainer(cell, context, context.network(cell.reading.class_head, cell.seed), method)
    return _measured(trainer.train_epoch, card.epoch_passes * len(images))


def _measured(run: Callable[[int], object], passes: float) -> list[float]:
    """Seconds per pass of each measurement. run: called with the number of the measurement. passes: of one call."""
    found = []
    for number in range(TIMES + 1):
        started = time.perf_counter()
        run(number)
        found.append((time.perf_counter() - started) / passes)
    return found[1:]
