"""A short measurement of how fast a sweep's cells will be on this machine: a few batches, nothing is written."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

from carft.data.task import ImageSet
from carft.spec.cell import Cell
from carft.spec.registry import MethodCard, method_card
from carft.spec.resolve import specify
from carft.training.context import CellContext
from carft.training.loop import Trainer
from sweeps.plan.planning import hardware_of
from sweeps.plan.rates import Rates
from sweeps.ray_backend.connect import Resources
from sweeps.recipes import Recipe
from sweeps.search.study import Study

#: batches of one measurement, and measurements after one that warms up
BATCHES = 4
TIMES = 3


def calibrated(recipe: Recipe, request: Resources) -> Rates:
    """Rates of the recipe's methods on its first task, one cell at a time on one worker; several at a time are slower.

    The spread is that of the measurements.
    """
    execution = replace(request.execution, workers=1, feature_cache=None).on_this_machine()
    execution.prepare()
    start = specify(recipe.tasks[0], "zeroshot", {}, model=recipe.model, pretrained=recipe.pretrained)
    bench = CellContext.of(start, execution)
    images = _some(bench.task.train, BATCHES * recipe.training.batch_size)
    found = {"zeroshot": _predicting(bench, replace(start, precision=recipe.precision), images)}
    for card in map(method_card, recipe.methods):
        if card.epoch_passes:
            found[card.name] = _training(recipe, card, bench, images)
    rates = {
        name: statistics.median(each) * request.cells_per_gpu / request.workers_per_cell for name, each in found.items()
    }
    shares = [one / statistics.median(each) for each in found.values() for one in each]
    trained = [rate for name, rate in rates.items() if name != "zeroshot"] or list(rates.values())
    where = hardware_of(request, recipe.precision)
    basis = f"a measurement of {TIMES} times {len(images)} images just now, on {where}, one cell alone"
    return Rates(
        other=statistics.mean(trained),
        methods={**rates, "wise_ft": rates["zeroshot"]},
        spread=(min(shares), max(shares)),
        basis=basis,
    )


def _some(images: ImageSet, count: int) -> ImageSet:
    return images.rows(range(min(count, len(images))))


def _predicting(bench: CellContext, cell: Cell, images: ImageSet) -> list[float]:
    """Seconds of a pass of prediction, several times."""
    network, found = bench.network(), []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        bench.predict(cell, network, images)
        found.append((time.perf_counter() - started) / len(images))
    return found[1:]


def _training(recipe: Recipe, card: MethodCard, bench: CellContext, images: ImageSet) -> list[float]:
    """Seconds of a pass of training with a method, several times."""
    study = Study(bench.task.name, card, _of_epochs(recipe, TIMES + 1))
    cell = study.cell({name: limits.first_guess for name, limits in study.space.items()}, recipe.search_seed)
    context = replace(bench, task=replace(bench.task, train=images))
    method = card.load()(cell, context.pretrained, context.prompts)
    trainer = Trainer(cell, context, context.network(cell.reading.class_head, cell.seed), method)
    passes = card.epoch_passes * len(images)
    found = []
    for epoch in range(cell.training.epochs):
        started = time.perf_counter()
        trainer.train_epoch(epoch)
        found.append((time.perf_counter() - started) / passes)
    return found[1:]


def _of_epochs(recipe: Recipe, epochs: int) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": epochs})})
