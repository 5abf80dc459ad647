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

from carft.core.errors import Diverged
from carft.core.rng import CROPS, ORDER, generator
from carft.data.task import ImageSet
from carft.data.views import TrainView, batches
from carft.methods.ft import Batch, FineTune, Row
from carft.models.clip import Pretrained
from carft.models.network import Network
from carft.spec.cell import Cell, Training
from carft.store.early_stopping import NO_THRESHOLDS, Curve, Thresholds, curve_of, pruned_after
from carft.training.checkpoint import Checkpoints, Progress
from carft.training.distributed import WorkerRank
from carft.training.execution import Execution
from carft.training.feature_cache import FeatureCache


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


def train(
    cell: Cell,
    network: Network,
    method: FineTune,
    images: ImageSet,
    pretrained: Pretrained,
    frozen: FeatureCache,
    execution: Execution,
    checkpoints: Checkpoints,
    after_epoch: Callable[[int], Row],
    limits: Thresholds = NO_THRESHOLDS,
) -> list[Row]:
    """Fine-tune ``network`` in place; returns one history row per step, epoch ends carrying ``after_epoch``'s values.

    Ends early after an epoch whose validation is below ``limits``.

    Every worker gets the rows rank, rank + workers, ... of each global batch, in ``execution.accumulation`` parts;
    means over parts are weighted by their size, so the gradient is that of the global batch. Goes on from the last
    checkpoint, exactly. Raises ``Diverged`` when the loss is not finite.
    """
    training, shard = cell.training, WorkerRank.current()
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=training.weight_decay, eps=1e-8, fused=True)
    progress = checkpoints.restore(network, optimizer) or Progress()
    loop = _Loop(cell, network, _wrapped(network, execution, shard), method, optimizer, pretrained, execution, shard)
    per_epoch = math.ceil(len(images) / training.batch_size)
    rates = list(learning_rates(training, cell.hyperparameters["lr"], per_epoch * training.epochs))
    history = progress.history
    for epoch in range(progress.step // per_epoch, training.epochs):
        if limits and _is_behind(curve_of(history), limits, shard, parameters[0].device):
            break
        permutation = order(cell.seed, epoch, len(images))
        starts = range(0, len(images), training.batch_size)
        steps = loop.plan([permutation[first : first + training.batch_size] for first in starts])
        view = TrainView(draws(cell.seed, epoch, len(images)), pretrained.side, training.crop)
        left = steps[progress.step - epoch * per_epoch :]
        pixels = batches(images.images, [part.rows for step in left for part in step.parts], view)
        frozen.begin_epoch(epoch, rows=sum(len(part.rows) for step in steps for part in step.parts))
        for step in left:
            rate = rates[progress.step]
            values = loop.step(progress.step, step, pixels, images.labels, frozen, rate)
            history.append({"epoch": float(epoch), "step": float(progress.step), "lr": rate, **values})
            progress.step += 1
            if progress.step % per_epoch == 0:
                history[-1].update(after_epoch(epoch))
            checkpoints.save(network, optimizer, progress, shard)
        frozen.end_epoch()
    return history


def _is_behind(curve: Curve, limits: Thresholds, shard: WorkerRank, device: torch.device) -> bool:
    """Whether training is given up here. The first worker decides for all: one that left alone would leave the others
    waiting for it."""
    behind = torch.tensor([pruned_after(curve, limits) is not None], device=device)
    if shard.workers > 1:
        dist.broadcast(behind, src=0)
    return bool(behind)


def _wrapped(network: Network, execution: Execution, shard: WorkerRank) -> nn.Module:
    model: nn.Module = torch.compile(network) if execution.compile else network  # type: ignore[assignment]
    return DistributedDataParallel(model, broadcast_buffers=False) if shard.workers > 1 else model


@dataclass(frozen=True)
class _Part:
    """Images that are computed at once: rows of the training set, and how many of this worker's came before them in the
    epoch."""

    rows: np.ndarray
    position: int


@dataclass(frozen=True)
class _Step:
    """This worker's share of a global batch of ``size`` images."""

    size: int
    parts: list[_Part]


@dataclass(frozen=True)
class _Loop:
    """What stays the same from step to step. ``model`` is the network, compiled and wrapped as the execution says."""

    cell: Cell
    network: Network
    model: nn.Module
    method: FineTune
    optimizer: torch.optim.Optimizer
    pretrained: Pretrained
    execution: Execution
    shard: WorkerRank

    def plan(self, batches: list[np.ndarray]) -> list[_Step]:
        """What this worker computes of each global batch of an epoch."""
        position, steps = 0, []
        for rows in batches:
            parts = []
            for part in self._parts(rows):
                parts.append(_Part(part, position))
                position += len(part)
            steps.append(_Step(len(rows), parts))
        return steps

    def _parts(self, rows: np.ndarray) -> list[np.ndarray]:
        mine = rows[self.shard.rank :: self.shard.workers]
        if len(mine) == 0:
            return [rows[:1]]  # a worker without images still takes part in the gradient's mean, with weight 0
        return np.array_split(mine, min(self.execution.accumulation, len(mine)))

    def step(
        self,
        number: int,
        step: _Step,
        pixels: Iterator[torch.Tensor],
        labels: torch.Tensor,
        frozen: FeatureCache,
        rate: float,
    ) -> Row:
        """Update ``number`` on a global batch; returns what to log, the same on every worker."""
        workers = self.shard.workers
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        empty = self.shard.rank >= step.size
        totals: dict[str, torch.Tensor] = {}
        for part in step.parts:
            share = 0.0 if empty else len(part.rows) / step.size
            batch = self._batch(number, next(pixels), part, labels, frozen)
            loss, values = self.method.loss(batch)
            weight = share * workers
            self._backward(loss if weight == 1 else loss * weight, last=part is step.parts[-1])
            for name, value in {"loss": loss.detach(), **values}.items():
                portion = value if share == 1 else value * share
                totals[name] = totals[name] + portion if name in totals else portion
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.cell.training.clip)
        self.optimizer.step()
        if workers > 1:
            for value in totals.values():
                dist.all_reduce(value)
        row = {f"train/{name}": float(value) for name, value in totals.items()}
        if not math.isfinite(row["train/loss"]):
            raise Diverged(f"the training loss became {row['train/loss']}; a smaller learning rate may help")
        return {**row, "grad_norm": float(norm)}

    def _backward(self, loss: torch.Tensor, last: bool) -> None:
        if isinstance(self.model, DistributedDataParallel) and not last:
            self.model.require_backward_grad_sync = False
            loss.backward()
            self.model.require_backward_grad_sync = True
        else:
            loss.backward()

    def _batch(self, step: int, pixels: torch.Tensor, part: _Part, labels: torch.Tensor, frozen: FeatureCache) -> Batch:
        device = next(self.network.parameters()).device
        images = self.pretrained.normalise(pixels.to(device, non_blocking=True))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.cell.precision == "bfloat16"):
            logits, features = self.model(images)
        shown = labels[part.rows].to(device)
        return Batch(self.network, images, shown, logits, features, lambda: frozen(images, part.position), step)
