"""The training loop: one function, the same on CPU and GPU, on one worker and on many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from carft.cell import Cell, Training
from carft.data.task import ImageSet
from carft.errors import Diverged
from carft.methods.ft import Batch, FineTune
from carft.network import Network

Row = dict[str, float]


@dataclass(frozen=True)
class Shard:
    """Which part of a global batch this process computes."""

    rank: int = 0
    workers: int = 1

    @staticmethod
    def current() -> Shard:
        """From torch.distributed when it is initialised, else the whole batch."""
        if dist.is_available() and dist.is_initialized():
            return Shard(dist.get_rank(), dist.get_world_size())
        return Shard()


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of images in an epoch, (count,), a function of (seed, epoch, count) alone."""
    return _generator(seed, epoch, 0).permutation(count)


def crops(seed: int, epoch: int, count: int, side: int, least: float) -> np.ndarray:
    """RandomResizedCrop boxes (count, 4) as top, left, height, width, a function of (seed, epoch, index) alone.

    Area share uniform in [least, 1]; aspect ratio log-uniform in that part of [3/4, 4/3] whose crop of this area fits
    the image, so no draw is rejected; no flip (easyrobust's WiSE-FT example crops 0.9-1.0 without flip).
    """
    draw = _generator(seed, epoch, 1).random((count, 4))
    share = least + (1 - least) * draw[:, 0]
    widest = np.minimum(np.log(4 / 3), -np.log(share))
    ratio = np.exp(widest * (2 * draw[:, 1] - 1))
    width = np.clip(np.rint(side * np.sqrt(share * ratio)), 1, side)
    height = np.clip(np.rint(side * np.sqrt(share / ratio)), 1, side)
    top = np.floor(draw[:, 2] * (side - height + 1))
    left = np.floor(draw[:, 3] * (side - width + 1))
    return np.stack([top, left, height, width], axis=1).astype(int)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def learning_rates(training: Training, peak: float, steps: int) -> Iterator[float]:
    """One value per step: linear warm-up over the recipe's share of the steps, then a cosine to zero."""
    warm = round(training.warmup * steps)
    for step in range(steps):
        if step < warm:
            yield peak * (step + 1) / warm
        else:
            yield peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def train(
    cell: Cell,
    network: Network,
    method: FineTune,
    images: ImageSet,
    normalise: Callable[[torch.Tensor], torch.Tensor],
    side: int,
    after_epoch: Callable[[int], Row],
) -> list[Row]:
    """Fine-tune ``network`` in place; returns one history row per step, epoch ends carrying ``after_epoch``'s values.

    Every worker gets the rows rank, rank + workers, ... of each global batch; shard means are weighted by shard
    size, so the gradient is that of the global batch. Raises ``Diverged`` when the loss is not finite.
    """
    training, shard = cell.training, Shard.current()
    model: nn.Module = network
    if shard.workers > 1:
        model = DistributedDataParallel(network, broadcast_buffers=False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=0.0, weight_decay=training.weight_decay, eps=1e-8, fused=True
    )
    loop = _Loop(network, model, method, optimizer, images, normalise, side, training.clip, shard)
    batches = math.ceil(len(images) / training.batch_size)
    rates = learning_rates(training, cell.hyperparameters["lr"], batches * training.epochs)
    history: list[Row] = []
    for epoch in range(training.epochs):
        permutation = order(cell.seed, epoch, len(images))
        boxes = crops(cell.seed, epoch, len(images), images.images.shape[-1], training.crop)
        for first in range(0, len(images), training.batch_size):
            rate = next(rates)
            values = loop.step(permutation[first : first + training.batch_size], boxes, rate)
            history.append({"epoch": float(epoch), "step": float(len(history)), "lr": rate, **values})
        history[-1].update(after_epoch(epoch))
    return history


@dataclass(frozen=True)
class _Loop:
    """What stays the same from step to step. ``model`` is the network, wrapped when there are several workers."""

    network: Network
    model: nn.Module
    method: FineTune
    optimizer: torch.optim.Optimizer
    images: ImageSet
    normalise: Callable[[torch.Tensor], torch.Tensor]
    side: int
    clip: float
    shard: Shard

    def step(self, rows: np.ndarray, boxes: np.ndarray, rate: float) -> Row:
        """One update on the global batch of these rows; returns what to log, the same on every worker."""
        workers = self.shard.workers
        mine = rows[self.shard.rank :: workers]
        share = len(mine) / len(rows)
        if len(mine) == 0:
            mine = rows[:1]  # a worker without images still takes part in the gradient's mean, with weight 0
        batch = self._batch(mine, boxes)
        loss, parts = self.method.loss(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        (loss * (share * workers) if workers > 1 else loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()
        values = {"train/loss": loss.detach(), **{f"train/{name}": part for name, part in parts.items()}}
        if workers > 1:
            for value in values.values():
                value.mul_(share)
                dist.all_reduce(value)
        row = {name: float(value) for name, value in values.items()}
        if not math.isfinite(row["train/loss"]):
            raise Diverged(f"the training loss became {row['train/loss']}; a smaller learning rate may help")
        return {**row, "grad_norm": float(norm)}

    def _batch(self, rows: np.ndarray, boxes: np.ndarray) -> Batch:
        device = next(self.network.parameters()).device
        pixels = torch.stack([_crop(self.images.images[i], boxes[i], self.side) for i in rows])
        images, labels = self.normalise(pixels.to(device)), self.images.labels[rows].to(device)
        logits, features = self.model(images)
        return Batch(self.network, images, labels, logits, features)


def _crop(image: torch.Tensor, box: np.ndarray, side: int) -> torch.Tensor:
    top, left, height, width = map(int, box)
    return tv.resized_crop(
        image, top, left, height, width, [side, side], interpolation=InterpolationMode.BICUBIC, antialias=True
    )
