"""A check, the sweep on this machine that checks look at, and the rates of its cells as they are measured now."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from carft.config.registry import MethodCard
from carft.core.errors import UserError
from carft.data.task import ImageSet
from carft.models.availability import size_of
from carft.training.context import CellContext
from carft.training.loop import Trainer
from sweeps.plan.planning import Plan, hardware_of, images_per_second, plan_of
from sweeps.plan.rates import Rate, Rates, estimated
from sweeps.plan.resources import Resources
from sweeps.ray_backend.gpus import concurrency_here
from sweeps.ray_backend.preflight import obstacles
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from sweeps.search.study import Study

#: batches of one measurement
BATCHES = 4
#: measurements of each method, after one that warms up
TIMES = 3
#: seconds that one measurement of training may take by the estimate: a large model on a CPU gets fewer images
MOST_S = 5.0


@dataclass(frozen=True)
class Measurement:
    """What one look at a machine measured, in words with units. It raises ``UserError`` where a sweep cannot run."""

    measured: str
    remedy: str = ""
    """What to do where a sweep is slower or dearer than it could be; empty where nothing is wrong."""
    name: str = ""
    stops: bool = False
    """Whether a sweep cannot run like this."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.remedy or self.stops)


@dataclass(frozen=True, eq=False)
class Subject:
    """A sweep on this machine, and what was measured of it. log: gets a sentence before work that takes time."""

    recipe: Recipe
    request: Resources
    protocol: Protocol
    log: Callable[[str], None]

    @cached_property
    def gpus(self) -> int:
        """GPUs of the sweep that torch sees."""
        import torch

        return min(self.request.gpus, torch.cuda.device_count())

    @cached_property
    def obstacles(self) -> list[UserError]:
        """What is wrong with methods, data and weights."""
        return obstacles(self.recipe, self.request, self.log, of_machine=False)

    @cached_property
    def rates(self) -> Rates | UserError | None:
        """The rates of the recipe's cells, measured now, or what failed; None for want of GPUs, data or weights."""
        if self.obstacles or self.gpus < self.request.gpus:
            return None
        self.log("Training on a few batches ...")
        return self._calibrated(self.request)

    @cached_property
    def other_rates(self) -> Rates | UserError | None:
        """The same with --compile where the request has it not, and without it where it has."""
        if not isinstance(self.rates, Rates):
            return None
        self.log("The same compiled, or not ...")
        execution = self.request.execution
        return self._calibrated(replace(self.request, execution=replace(execution, compile=not execution.compile)))

    def _calibrated(self, request: Resources) -> Rates | UserError:
        try:
            return calibrated(self.recipe, request)
        except UserError as error:  # such as an image that cannot be read
            return error
        except RuntimeError as error:  # of torch, also where memory does not suffice
            hint = "If memory is full: --accumulation 2, or more. Otherwise look at nvidia-smi and the kernel's log."
            return UserError(f"A training step failed: {str(error).splitlines()[0]}.", hint)

    @cached_property
    def plan(self) -> Plan:
        """What the sweep takes: by the measured rates, else by records or an estimate."""
        measured = None if isinstance(self.rates, UserError) else self.rates
        return plan_of(self.protocol, self.request, concurrency_here(self.request), measured)

    @cached_property
    def images_wanted(self) -> float:
        """Images per second that a device trains on, as measured or as estimated for its card, whichever is more.

        A measured step may itself have waited for images. 0 where neither is known.
        """
        hardware = self.plan.hardware
        seconds = self.plan.rates.trained.seconds, estimated(self.plan.size, hardware).trained.seconds
        known = [pass_s for pass_s in seconds if pass_s]
        return images_per_second(self.recipe, min(known, default=0.0) * hardware.devices)


def calibrated(recipe: Recipe, request: Resources) -> Rates:
    """Rates of the recipe's methods that train in epochs, and of prediction, on its first task.

    One cell at a time is measured, on one worker with its part of a batch.
    """
    own = math.ceil(recipe.training.batch_size / request.execution.workers)
    recipe = recipe.model_copy(update={"training": replace(recipe.training, batch_size=own)})
    execution = replace(request.execution, workers=1, feature_cache=None).on_this_machine()
    execution.prepare()
    cell = recipe.cell(recipe.tasks[0], "zeroshot", {})
    context = CellContext.of(cell, execution, recipe.catalog)
    train = context.task.train
    count = min(BATCHES * recipe.training.batch_size, len(train), _most_images(recipe, request))
    images = train.rows(range(count))
    network = context.network()
    predicting = _measured(lambda _: context.predict(cell, network, images), len(images))
    training: list[float] = []
    for name in recipe.methods:
        card = recipe.catalog.method(name)
        if card.epoch_passes:
            training += _training_seconds_per_pass(recipe, card, context, images)
    share = request.execution.cells_per_gpu / request.execution.workers
    hardware = hardware_of(request, recipe.precision)
    basis = f"a measurement of {TIMES} times {len(images)} images just now, on {hardware}, one cell alone"
    return Rates(_rate(training or predicting, share), _rate(predicting, share), basis, alone=True)


def _most_images(recipe: Recipe, request: Resources) -> int:
    """The images that the recipe's dearest method trains on in :data:`MOST_S` by the estimate; at least 2."""
    size = size_of(recipe.cell(recipe.tasks[0], "zeroshot", {}).model)
    if size is None:
        return BATCHES * recipe.training.batch_size
    hardware = hardware_of(request, recipe.precision)
    passes = max(1.0, *(recipe.catalog.method(name).epoch_passes for name in recipe.methods))
    image_s = estimated(size, hardware).trained.seconds * hardware.devices * passes
    return max(2, int(MOST_S / image_s))


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
