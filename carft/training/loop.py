"""The training loop: the same on CPU and GPU, on one worker and on several.

The loop calls a method's hooks (:class:`carft.methods.ft.FineTune`). A method never calls the loop.
"""

import math
import signal
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from carft.config.cell import Cell
from carft.core.errors import Diverged, duration
from carft.core.metrics import Predictions, score, with_prefix
from carft.data.views import MOST_PROCESSES, PROCESSES, Feed, to_device
from carft.methods.ft import Batch, FineTune, HistoryRow
from carft.models.network import Network, autocast
from carft.training.checkpoint import NONE, Checkpoints, TrainingProgress
from carft.training.compiling import compile_shapes, forget_graphs
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank, gather_rows
from carft.training.feature_cache import FeatureCache
from carft.training.preemption import never, preemption_noted, tell_epochs
from carft.training.schedule import BatchPart, drawn_rows, epoch_order, learning_rates, parts_of_epoch, train_view

#: first scale of the loss in float16; from torch's own, 65536, several first steps overflow and are skipped
SCALE = 1024.0
#: steps whose metrics stay on the device before they are read, since reading waits for the device
READ_EVERY = 50
#: seconds between two lines on how far a training is
LOG_EVERY_S = 60.0
#: share of an epoch that a GPU waits for images above which more processes decode the next one
MOST_WAIT = 0.05
#: validation metrics that a history holds, at the last step of every epoch
VALIDATION_METRICS = ("val/top1", "val/loss", "val/context_top1")


class Trainer:
    """Updates a network on the loss of a method: AdamW, warm-up and cosine, gradients clipped at a global norm.

    Resumes from the last checkpoint, with the same bits. Every worker of a cell has one, after the method's set-up.
    """

    must_end: Callable[[], bool] = staticmethod(never)
    """Whether the training must end before its time."""
    predictions: Predictions | None = None
    """Of the last validation; None when this process validated nothing."""

    def __init__(
        self,
        cell: Cell,
        context: CellContext,
        network: Network,
        method: FineTune,
        checkpoints: Checkpoints = NONE,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.cell, self.context, self.network, self.method = cell, context, network, method
        self.checkpoints, self.log = checkpoints, log
        self.worker = WorkerRank.current()
        self.device = next(network.parameters()).device
        self.parameters = method.trainable_parameters(network)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, weight_decay=cell.training.weight_decay, eps=1e-8, fused=True
        )
        self.progress = checkpoints.restore(network, self.optimizer) or TrainingProgress()
        self.scaler = torch.amp.GradScaler(self.device.type, SCALE, enabled=cell.precision == "float16")
        if self.progress.scaler:
            self.scaler.load_state_dict(self.progress.scaler)
        modules: Iterator[Any] = network.modules()
        for module in modules:  # transformers of the image encoder, and of a text tower that is trained too
            if hasattr(module, "grad_checkpointing"):  # an attribute of open_clip's classes
                module.grad_checkpointing = context.execution.grad_checkpointing
        model: nn.Module = network
        if context.execution.compile:
            forget_graphs()
            model = compile_shapes(network)
        several = self.worker.workers > 1
        self.model = DistributedDataParallel(model, broadcast_buffers=False) if several else model
        self.cache = FeatureCache(cell, context)
        self.images = context.task.train
        self.data_wait_s = self.epochs_s = 0.0  # since the start or the resumption
        self.processes = PROCESSES
        self.unread: list[tuple[HistoryRow, dict[str, torch.Tensor]]] = []  # rows of the history, and their metrics
        domains = max(1, context.card.domains)
        self.bounds = cell.training.bounds(len(self.images), domains)
        self.batch_size = cell.training.images_per_step(domains)
        self.rates = list(learning_rates(cell.training, cell.hyperparameters["lr"], self.bounds[-1]))
        self.logged_step, self.logged_at = 0, 0.0

    def train(self) -> None:
        """Train and validate the epochs that are left. Raises ``Diverged`` when the loss is not finite.

        If it writes checkpoints, SIGTERM or the end of its sweep ends the process after the step and a checkpoint.
        ``Pruned`` may be raised after an epoch (:func:`carft.training.preemption.told_after_epochs`).
        """
        cell = self.cell
        epochs = self.cell.training.epochs
        history = self.progress.history
        if self.progress.step:
            self.log(f"goes on after step {self.progress.step} from a checkpoint")
        # the epoch of the next step, or that of the last one where its validation was cut short
        was_cut_short = bool(history) and VALIDATION_METRICS[0] not in history[-1]
        first = bisect_right(self.bounds, self.progress.step - was_cut_short) - 1
        with preemption_noted() if self.checkpoints.is_on else nullcontext(never) as self.must_end:
            for epoch in range(first, epochs):
                self.train_epoch(epoch)
                self.method.before_evaluation(self.network)
                self.predictions = self.context.predict(cell, self.network, self.context.task.val, self.end_if_told)
                scores = with_prefix("val", score(self.predictions))
                for name in VALIDATION_METRICS:
                    if name in scores:
                        history[-1][name] = scores[name]
                waited = f"waited for images {100 * self.data_wait_s / self.epochs_s:.0f} %"
                self.log(f"epoch {epoch + 1}/{epochs}  val/top1 {scores['val/top1']:.3f}  {waited}")
                self.save()
                if epoch + 1 < epochs:
                    tell_epochs([row[VALIDATION_METRICS[0]] for row in history if VALIDATION_METRICS[0] in row])
            self.method.teardown(self.network)

    def train_epoch(self, epoch: int) -> None:
        """Update on the batches of an epoch that are left; saves checkpoints, but not at the epoch's last step."""
        started = time.perf_counter()
        train = self.context.task.train
        seed = self.cell.seed
        if self.cell.training.is_drawn:
            rows = drawn_rows(self.cell.training, seed, epoch, self.bounds, train.contexts.numpy())
            self.images = train.rows(rows)
            permutation = np.arange(len(rows))
        else:
            permutation = epoch_order(seed, epoch, len(train))
        steps = parts_of_epoch(permutation, self.batch_size, self.worker, self.context.execution.accumulation)
        self.cache.begin_epoch(epoch, rows=sum(len(part.rows) for part in chain.from_iterable(steps)))
        left = steps[self.progress.step - self.bounds[epoch] :]
        plan = [part.rows for part in chain.from_iterable(left)]
        view = train_view(self.cell.training, seed, epoch, len(self.images), self.context.pretrained.side)
        pixels = Feed(self.images.images, plan, view, self.device, self.processes)
        self.logged_step, self.logged_at = self.progress.step, time.monotonic()  # without the evaluation before
        for number, parts in enumerate(left, start=1):
            step = self.progress.step
            rate = self.rates[self.progress.step]
            logged = self.update(step, parts, pixels, rate)
            row = {"epoch": float(epoch), "step": float(step), "lr": rate}
            self.progress.history.append(row)
            self.unread.append((row, logged))
            self.progress.step += 1
            if number < len(left):
                self.save()
            is_due = time.monotonic() - self.logged_at >= LOG_EVERY_S
            if is_due or len(self.unread) == READ_EVERY:
                self.read_metrics()
            if is_due:
                self.log_pace(row["train/loss"])
        self.read_metrics()
        took_s = time.perf_counter() - started
        self.data_wait_s += pixels.waited_s
        self.epochs_s += took_s
        if pixels.waited_s > MOST_WAIT * took_s:
            self.processes = MOST_PROCESSES
        self.cache.end_epoch()

    def log_pace(self, loss: float) -> None:
        """Log step, loss of the last step, images a second of all workers, and the time that is left."""
        step = self.progress.step
        steps = self.bounds[-1]
        seconds = (time.monotonic() - self.logged_at) / (step - self.logged_step)
        rate = self.batch_size / seconds
        left = duration((steps - step) * seconds)
        self.log(f"step {step:,}/{steps:,}  loss {loss:.3f}  {rate:,.0f} images/s  {left} left, without evaluations")
        self.logged_step, self.logged_at = step, time.monotonic()

    def read_metrics(self) -> None:
        """Read the metrics of the last steps into the history. Raises ``Diverged`` when a loss is not finite."""
        unread, self.unread = self.unread, []
        if not unread:
            return
        on_device = []
        for _, metrics in unread:
            for value in metrics.values():
                on_device.append(value.double())
        values = iter(torch.stack(on_device).tolist())
        for row, metrics in unread:
            for name in metrics:
                row[name] = next(values)
            if not math.isfinite(row["train/loss"]):
                raise Diverged(f"the training loss became {row['train/loss']}; a smaller learning rate may help")

    def update(
        self, step: int, parts: list[BatchPart], pixels: Iterator[torch.Tensor], rate: float
    ) -> dict[str, torch.Tensor]:
        """Forward, loss, backward, optimiser step; returns what to log, on the device, the same on every worker.

        The gradient is that of the mean loss over the global batch. Workers exchange gradients once, at the last part.
        """
        workers = self.worker.workers
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        is_whole = workers == len(parts) == 1
        if self.context.catalog.method(self.cell.method).compares and not is_whole:
            means = self.compared_backward(step, parts, pixels)
        else:
            means = self.backward(step, parts, pixels)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.cell.training.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if workers > 1:
            for value in means.values():
                dist.all_reduce(value)
        logged = {f"train/{name}": value for name, value in means.items()}
        logged["grad_norm"] = norm
        return logged

    def backward(self, step: int, parts: list[BatchPart], pixels: Iterator[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Forward and backward pass of a loss that is a mean over images; returns this worker's share of the means."""
        means: dict[str, torch.Tensor] = {}
        for part in parts:
            is_last = part is parts[-1]
            with self.exchanging(is_last):  # gradients are exchanged once a step
                batch = self.forward(step, part, next(pixels))
                loss, logged = self.method.loss(batch)
                # DistributedDataParallel divides by the number of workers
                self.scaler.scale(loss * (part.share * self.worker.workers)).backward()
            for name, value in {"loss": loss, **logged}.items():
                weighted = value.detach() * part.share
                if name in means:
                    weighted = means[name] + weighted
                means[name] = weighted
        return means

    def compared_backward(
        self, step: int, parts: list[BatchPart], pixels: Iterator[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Forward and backward pass of a loss that compares all images of a batch; returns this worker's share.

        Such a loss cannot be summed over the parts of a batch. First every part is embedded without a graph. The loss
        of the embeddings of all parts and workers gives their gradient. Then every part is embedded again, with a
        graph, and the gradient of its embeddings is sent back: one part is in memory at a time.
        Source: GradCache (Gao et al., arXiv 2101.06983).
        """
        shown, embedded = [], []
        with torch.no_grad():
            for part in parts:
                images = next(pixels)
                shown.append(images)
                embedded.append(self.method.embed(self.forward(step, part, images)))
        share = sum(part.share for part in parts)
        workers = self.worker.workers
        mine = torch.cat(embedded) if share else embedded[0][:0]
        everything = gather_rows(mine, parts[0].whole).requires_grad_(True)
        loss = self.method.compare(everything)
        shared = self.method.compared_parameters()
        gradient, *slopes = torch.autograd.grad(loss, [everything, *shared])
        gradient, first = gradient[self.worker.rank :: workers], 0  # of the rows of this worker
        for part, images in zip(parts, shown, strict=True):
            is_last = part is parts[-1]
            with self.exchanging(is_last):  # gradients are exchanged once a step
                again = self.method.embed(self.forward(step, part, images))
                rows = gradient[first : first + len(again)]
                # scalars with the gradients of the loss; DistributedDataParallel divides by the number of workers
                surrogate = workers * (again * rows).sum() if share else 0 * again.sum()
                if part is parts[-1]:
                    surrogate = surrogate + sum((p * slope).sum() for p, slope in zip(shared, slopes, strict=True))
                self.scaler.scale(surrogate).backward()
            first += len(again)
        return {"loss": loss.detach() * share}

    def forward(self, step: int, part: BatchPart, pixels: torch.Tensor) -> Batch:
        """The forward pass of the network on a part of a batch."""
        images = self.context.pretrained.normalise(pixels)
        with autocast(self.device.type, self.cell.precision):
            logits, features = self.model(images)
        labels = to_device(self.images.labels[part.rows], self.device)
        pretrained_features = partial(self.cache.features, images, part.position)
        places = to_device(torch.from_numpy(part.places), self.device)
        return Batch(self.network, images, labels, logits, features, pretrained_features, step, places, part.whole)

    def exchanging(self, exchanges: bool) -> AbstractContextManager[None]:
        """A context in which the backward pass exchanges gradients with other workers, or leaves them on this one."""
        if isinstance(self.model, DistributedDataParallel) and not exchanges:
            return self.model.no_sync()
        return nullcontext()

    def save(self) -> None:
        """Write a checkpoint if one is due, or if the training must end, which raises ``SystemExit``."""
        self.end_if_told()
        if self.checkpoints.is_due(self.progress.step):
            self._write_checkpoint()

    def end_if_told(self) -> None:
        """When the training must end write a checkpoint, and raise ``SystemExit``."""
        if self.must_end():
            self._write_checkpoint()
            self.checkpoints.wait()
            raise SystemExit(128 + signal.SIGTERM)

    def _write_checkpoint(self) -> None:
        self.read_metrics()
        self.progress.scaler = self.scaler.state_dict()
        self.checkpoints.save(self.network, self.optimizer, self.progress)
