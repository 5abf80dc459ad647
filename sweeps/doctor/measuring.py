"""One measured step: how long a pass of a recipe's cells takes on this machine."""

import math
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
from sweeps.plan.resources import Resources
from sweeps.recipes.recipe import Recipe
from sweeps.search.study import Study

#: batches of one measurement, and measurements after one that warms up
BATCHES, TIMES = 4, 3
#: seconds that one measurement of training may take by the estimate: a large model on a CPU gets fewer images
MOST_S = 5.0


def measured_rates(recipe: Recipe, request: Resources) -> Rates:
    """Rates of the recipe's dearest method that trains in epochs, and of prediction, on its first task.

    One cell at a time is measured, on one worker with its part of a batch.
    """
    own = math.ceil(recipe.training.batch_size / request.execution.workers)
    recipe = recipe.model_copy(update={"training": replace(recipe.training, batch_size=own)})
    execution = replace(request.execution, workers=1, feature_cache=None).on_this_machine()
    execution.prepare()
    cell = recipe.cell(recipe.tasks[0], "zeroshot", {})
    context = CellContext.of(cell, execution, recipe.catalog)
    dearest = max(map(recipe.catalog.method, recipe.methods), key=lambda card: card.epoch_passes)
    hardware = hardware_of(request, recipe.precision)
    count = BATCHES * own
    size = size_of(cell.model)
    if size is not None:
        image_s = estimated(size, hardware).trained.seconds * hardware.devices * max(1.0, dearest.epoch_passes)
        count = min(count, max(2, int(MOST_S / image_s)))
    images = context.task.train.rows(range(min(count, len(context.task.train))))
    network = context.network()
    predicting = _measured(lambda _: context.predict(cell, network, images), len(images))
    training = predicting
    if dearest.epoch_passes:
        training = _training_seconds_per_pass(recipe, dearest, context, images)
    share = request.execution.cells_per_gpu / request.execution.workers
    basis = f"a measurement of {TIMES} times {len(images)} images just now, on {hardware}, one cell alone"
    return Rates(_rate(training, share), _rate(predicting, share), basis, alone=True)


def _rate(seconds: Sequence[float], share: float) -> Rate:
    """The rate of measurements. share: cells that share the device of a worker."""
    return Rate(share * statistics.median(seconds), share * min(seconds), share * max(seconds))


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
    """Seconds per pass of each measurement. run: called with the number of the measurement. passes: of one call."""
    seconds = []
    for number in range(TIMES + 1):
        started = time.perf_counter()
        run(number)
        seconds.append((time.perf_counter() - started) / passes)
    return seconds[1:]
