"""The training loop: the same on CPU and GPU, on one worker and on several.

The loop calls a method's hooks (:class:`carft.methods.ft.FineTune`). A method never calls the loop.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from carft.core.errors import Diverged
from carft.core.metrics import Predictions, flatten, score
from carft.data.views import TrainView, batches
from carft.methods.ft import Batch, FineTune, Row
from carft.models.network import Network
from carft.spec.cell import Cell
from carft.store.early_stopping import NO_THRESHOLDS, Curve, Thresholds, curve_of, pruned_after
from carft.training.checkpoint import NONE, Checkpoints, Progress
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank
from carft.training.execution import Execution
from carft.training.feature_cache import FeatureCache
from carft.training.preemption import Preemption, sigterm_noted
from carft.training.schedule import Part, draws, learning_rates, order, parts_of_epoch

#: validation metrics that a history holds, at the last step of every epoch
VALIDATED = ("val/top1", "val/loss", "val/context_top1")


@dataclass(frozen=True)
class Trained:
    """What :func:`train` returns."""

    history: list[Row]
    """One row per step; the last row of an epoch also holds its validation."""
    predictions: Predictions | None = None
    """Of the last validation; None when this call validated nothing."""


def train(
    cell: Cell,
    context: CellContext,
    network: Network,
    method: FineTune,
    checkpoints: Checkpoints = NONE,
    thresholds: Thresholds = NO_THRESHOLDS,
    log: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Fine-tune ``network`` in place. Every worker of a cell calls this.

    Resumes from the last checkpoint, with the same bits. Ends after an epoch whose validation is below ``thresholds``.
    At SIGTERM writes a checkpoint after the step and ends the process. Raises ``Diverged`` when the loss is not finite.
    """
    solved = method.setup(network, context.task.train)
    if not method.trainable_parameters(network):
        return Trained(solved)
    with sigterm_noted() if checkpoints.is_on else nullcontext(Preemption()) as preemption:
        return train_epochs(Trainer(cell, context, network, method, checkpoints, preemption), thresholds, log)


def train_epochs(trainer: Trainer, thresholds: Thresholds, log: Callable[[str], None]) -> Trained:
    """The epochs that are left, each with its validation."""
    cell, context, network, method = trainer.cell, trainer.context, trainer.network, trainer.method
    history, predictions = trainer.progress.history, None
    if trainer.progress.step:
        log(f"goes on after step {trainer.progress.step} from a checkpoint")
    for epoch in range(trainer.first_epoch, cell.training.epochs):
        if thresholds and trainer.is_pruned(curve_of(history), thresholds):
            break
        trainer.train_epoch(epoch)
        method.before_evaluation(network)
        predictions = context.predict(cell, network, context.task.val)
        scores = flatten("val", score(predictions))
        history[-1].update({name: scores[name] for name in VALIDATED if name in scores})
        log(f"epoch {epoch + 1}/{cell.training.epochs}  val/top1 {scores['val/top1']:.3f}")
        trainer.save()
    method.teardown(network)
    return Trained(history, predictions)


class Trainer:
    """Updates a network on the loss of a method: AdamW, warm-up and cosine, gradients clipped at a global norm."""

    def __init__(
        self,
        cell: Cell,
        context: CellContext,
        network: Network,
        method: FineTune,
        checkpoints: Checkpoints = NONE,
        preemption: Preemption | None = None,
    ) -> None:
        self.cell, self.context, self.network, self.method = cell, context, network, method
        self.checkpoints, self.preemption = checkpoints, preemption or Preemption()
        self.worker = WorkerRank.current()
        self.device = next(network.parameters()).device
        self.parameters = method.trainable_parameters(network)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, weight_decay=cell.training.weight_decay, eps=1e-8, fused=True
        )
        self.progress = checkpoints.restore(network, self.optimizer) or Progress()
        checkpoints.begin()
        self.model = wrapped(network, context.execution, self.worker)
        self.cache = FeatureCache.of(cell, context)
        self.steps_per_epoch = math.ceil(len(context.task.train) / cell.training.batch_size)
        steps = self.steps_per_epoch * cell.training.epochs
        self.rates = list(learning_rates(cell.training, cell.hyperparameters["lr"], steps))

    @property
    def first_epoch(self) -> int:
        """The epoch of the next step."""
        return self.progress.step // self.steps_per_epoch

    def train_epoch(self, epoch: int) -> None:
        """Update on the batches of an epoch that are left; saves checkpoints, but not at the epoch's last step."""
        images, training, seed = self.context.task.train, self.cell.training, self.cell.seed
        permutation = order(seed, epoch, len(images))
        steps = parts_of_epoch(permutation, training.batch_size, self.worker, self.context.execution.accumulation)
        self.cache.begin_epoch(epoch, rows=sum(len(part.rows) for parts in steps for part in parts))
        left = steps[self.progress.step - epoch * self.steps_per_epoch :]
        view = TrainView(draws(seed, epoch, len(images)), self.context.pretrained.side, training.crop)
        pixels = batches(images.images, [part.rows for parts in left for part in parts], view)
        for number, parts in enumerate(left, start=1):
            step, rate = self.progress.step, self.rates[self.progress.step]
            logged = self.update(step, parts, pixels, rate)
            self.progress.history.append({"epoch": float(epoch), "step": float(step), "lr": rate, **logged})
            self.progress.step += 1
            if number < len(left):
                self.save()
        self.cache.end_epoch()

    def update(self, step: int, parts: list[Part], pixels: Iterator[torch.Tensor], rate: float) -> Row:
        """Forward, loss, backward, optimiser step; returns what to log, the same on every worker.

        The gradient is that of the mean loss over the global batch. Workers exchange gradients once, at the last part.
        """
        workers = self.worker.workers
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        means: dict[str, torch.Tensor] = {}
        for part in parts:
            with self.without_exchange() if part is not parts[-1] else nullcontext():
                batch = self.forward(step, part, next(pixels))
                loss, logged = self.method.loss(batch)
                (loss * (part.share * workers)).backward()  # DistributedDataParallel divides by the number of workers
            for name, value in {"loss": loss.detach(), **logged}.items():
                weighted = value * part.share
                means[name] = means[name] + weighted if name in means else weighted
        norm = nn.utils.clip_grad_norm_(self.parameters, self.cell.training.clip)
        self.optimizer.step()
        if workers > 1:
            for value in means.values():
                dist.all_reduce(value)
        row = {f"train/{name}": float(value) for name, value in means.items()}
        if not math.isfinite(row["train/loss"]):
            raise Diverged(f"the training loss became {row['train/loss']}; a smaller learning rate may help")
        return {**row, "grad_norm": float(norm)}

    def forward(self, step: int, part: Part, pixels: torch.Tensor) -> Batch:
        """The forward pass of the network on a part of a batch."""
        images = self.context.pretrained.normalise(pixels.to(self.device, non_blocking=True))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cell.precision == "bfloat16"):
            logits, features = self.model(images)
        labels = self.context.task.train.labels[part.rows].to(self.device)
        pretrained_features = partial(self.cache.features, images, part.position)
        return Batch(self.network, images, labels, logits, features, pretrained_features, step)

    def without_exchange(self) -> AbstractContextManager[None]:
        """A context in which forward and backward leave the gradients on this worker."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def is_pruned(self, curve: Curve, thresholds: Thresholds) -> bool:
        """Whether training ends here. The first worker decides for all, so that none waits for another."""
        behind = torch.tensor([pruned_after(curve, thresholds) is not None], device=self.device)
        if self.worker.workers > 1:
            dist.broadcast(behind, src=0)
        return bool(behind)

    def save(self) -> None:
        """Write a checkpoint if one is due. After SIGTERM write it now, and raise ``SystemExit``."""
        state = (self.network, self.optimizer, self.progress, self.worker)
        if self.preemption.arrived:
            self.checkpoints.save_now(*state)
            raise SystemExit(128 + signal.SIGTERM)
        self.checkpoints.save(*state)


def wrapped(network: Network, execution: Execution, worker: WorkerRank) -> nn.Module:
    """The network, compiled and distributed as the execution says."""
    model: nn.Module = torch.compile(network) if execution.compile else network  # type: ignore[assignment]
    return DistributedDataParallel(model, broadcast_buffers=False) if worker.workers > 1 else model
