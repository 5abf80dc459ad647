"""What is computed at every step: images, crops, learning rate, and the parts of a batch that one worker computes.

Everything here is a function of the cell and of the execution, so a training resumes from a checkpoint with the same
bits.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from carft.config.settings import Training
from carft.core.rng import CROPS, DRAWN, ORDER, generator
from carft.data.reference_views import DRAWS, ReferenceTrainView
from carft.data.views import TrainView, View
from carft.training.distributed import WorkerRank


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of images in an epoch, (count,), a function of (seed, epoch, count) alone."""
    return generator(seed, epoch, ORDER).permutation(count)


def draws(seed: int, epoch: int, count: int, each: int = 4) -> np.ndarray:
    """Uniform draws of each image's augmentation, (count, each), a function of (seed, epoch, index) alone."""
    return generator(seed, epoch, CROPS).random((count, each))


def drawn_rows(training: Training, seed: int, epoch: int, bounds: Sequence[int], domains: np.ndarray) -> np.ndarray:
    """Rows of the training set in the order of an epoch of whole batches, (M,), for a recipe that ``is_drawn``.

    ``domain_balanced``: every batch holds ``batch_size`` images of each domain, drawn with replacement, as in
    DomainBed's code. Otherwise one permutation of the set follows the other, and batches go across their ends.
    bounds: of the recipe. domains: (N,) domain of each image.
    """
    first, end = bounds[epoch], bounds[epoch + 1]
    if training.domain_balanced:
        drawn = generator(seed, epoch, DRAWN)
        picks = []
        for domain in np.unique(domains):
            own = np.flatnonzero(domains == domain)
            picks.append(own[drawn.integers(0, len(own), (end - first, training.batch_size))])
        return np.concatenate(picks, axis=1).ravel()
    places = np.arange(first * training.batch_size, end * training.batch_size)
    count = len(domains)
    passes = range(int(places[0]) // count, int(places[-1]) // count + 1)
    stream = np.concatenate([epoch_order(seed, number, count) for number in passes])
    return stream[places - passes.start * count]


def train_view(training: Training, seed: int, epoch: int, count: int, side: int) -> View:
    """The augmentation of the images of an epoch. side: of the view, in pixels."""
    if training.augmentation == "crop":
        return TrainView(draws(seed, epoch, count), side, training.crop)
    return ReferenceTrainView(draws(seed, epoch, count, DRAWS), side, colour=training.augmentation == "domainbed")


def learning_rates(training: Training, peak: float, steps: int) -> Iterator[float]:
    """One value per step: linear warm-up over the recipe's share of the steps, then its schedule."""
    warm = round(training.warmup * steps)
    for step in range(steps):
        if step < warm:
            yield peak * (step + 1) / warm
        elif training.schedule == "constant":
            yield peak
        else:
            yield peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


@dataclass(frozen=True)
class BatchPart:
    """Images of a global batch that one worker computes in one forward pass."""

    rows: np.ndarray
    """Their rows in the training set."""
    position: int
    """How many images this worker computes before them in the epoch."""
    share: float
    """Their weight in the mean over the global batch: their number over its size, or 0 for a part of no weight."""
    places: np.ndarray
    """Their places in the global batch."""
    whole: int
    """Images of the global batch."""


def parts_of_epoch(
    permutation: np.ndarray, batch_size: int, worker: WorkerRank, accumulation: int
) -> list[list[BatchPart]]:
    """The parts of every global batch of an epoch.

    A worker computes the rows rank, rank + workers, ... of each batch, in at most ``accumulation`` parts. A worker
    without rows computes one image at share 0, so that it takes part in the mean of the gradients.
    """
    steps: list[list[BatchPart]] = []
    position = 0
    for first in range(0, len(permutation), batch_size):
        batch = permutation[first : first + batch_size]
        mine = np.arange(worker.rank, len(batch), worker.workers)
        pieces = [np.arange(1)]
        if len(mine):
            pieces = np.array_split(mine, min(accumulation, len(mine)))
        parts = []
        for places in pieces:
            share = len(places) / len(batch) if len(mine) else 0.0
            parts.append(BatchPart(batch[places], position, share, places, len(batch)))
            position += len(places)
        steps.append(parts)
    return steps
