"""What is computed at every step: images, crops, learning rate, and the parts of a batch that one worker computes.

Everything here is a function of the cell and of the execution, so a training resumes from a checkpoint with the same
bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from carft.core.rng import CROPS, ORDER, generator
from carft.spec.cell import Training
from carft.training.distributed import WorkerRank


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of images in an epoch, (count,), a function of (seed, epoch, count) alone."""
    return generator(seed, epoch, ORDER).permutation(count)


def draws(seed: int, epoch: int, count: int) -> np.ndarray:
    """Four uniform draws of each image's crop, (count, 4), a function of (seed, epoch, index) alone."""
    return generator(seed, epoch, CROPS).random((count, 4))


def learning_rates(training: Training, peak: float, steps: int) -> Iterator[float]:
    """One value per step: linear warm-up over the recipe's share of the steps, then a cosine to zero."""
    warm = round(training.warmup * steps)
    for step in range(steps):
        if step < warm:
            yield peak * (step + 1) / warm
        else:
            yield peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


@dataclass(frozen=True)
class Part:
    """Images of a global batch that one worker computes in one forward pass."""

    rows: np.ndarray
    """Their rows in the training set."""
    position: int
    """How many images this worker computes before them in the epoch."""
    share: float
    """Their weight in the mean over the global batch: their number over its size, or 0 for a part of no weight."""


def parts_of_epoch(permutation: np.ndarray, batch_size: int, worker: WorkerRank, accumulation: int) -> list[list[Part]]:
    """The parts of every global batch of an epoch.

    A worker computes the rows rank, rank + workers, ... of each batch, in at most ``accumulation`` parts. A worker
    without rows computes one image at share 0, so that it takes part in the mean of the gradients.
    """
    steps: list[list[Part]] = []
    position = 0
    for first in range(0, len(permutation), batch_size):
        batch = permutation[first : first + batch_size]
        mine = batch[worker.rank :: worker.workers]
        pieces = np.array_split(mine, min(accumulation, len(mine))) if len(mine) else [batch[:1]]
        parts = []
        for rows in pieces:
            parts.append(Part(rows, position, share=len(rows) / len(batch) if len(mine) else 0.0))
            position += len(rows)
        steps.append(parts)
    return steps
