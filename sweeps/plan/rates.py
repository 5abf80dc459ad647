"""What cells take: passes, and seconds for one pass on some hardware, from records or from the size of the model.

A pass is one image through the image encoder, forward. A training step on an image counts as several passes, as the
method's card states, so that one rate serves all methods. No Ray, no torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from carft.catalog.catalog import Catalog
from carft.config.cell import model_by_name
from carft.config.settings import Training
from carft.core.errors import UserError
from carft.core.machine import GpuCard, gpu_card
from carft.core.metrics import KEPT
from carft.data.card import STANDARD, DataOptions
from carft.data.family import Sizes
from carft.models.availability import ModelSize
from carft.store.predictions import WHOLE_UP_TO
from carft.store.record_files import Record
from carft.store.records import Store

#: bytes of the names of an image and its group in a row of predictions
NAME_BYTES = 60

#: records that are read at most, the newest first
MAX_RECORDS = 400
#: assumed floating-point operations per second of a CPU thread, and of an unknown GPU by precision
CPU_SPEED = 4e10
GPU_SPEED = {"float32": 1.2e13, "tf32": 3e13, "bfloat16": 6e13, "float16": 6e13}
#: assumed seconds in which a training of ViT-B/16 compiles, in any process: no graph stays from the one before
COMPILE_S = 60.0
#: factor within which these speeds are right
WITHIN = 4.0
#: factor within which the next cell takes as long as measured ones
SPREAD = 1.25
#: assumed share of the peak that training of a ViT with --compile reaches on a GPU (model FLOPs utilisation), and its
#: range; without it a step takes about 1.4 times as long, by a roofline of its kernels
UTILISATION, LEAST_UTILISATION, MOST_UTILISATION = 0.30, 0.15, 0.45


@dataclass(frozen=True)
class Costs:
    """The images of tasks, and the passes that cells take."""

    catalog: Catalog
    options: DataOptions
    """Where data are, for tasks that are counted by opening them."""
    _sizes: dict[str, Sizes] = field(default_factory=dict, init=False)

    def sizes(self, task: str) -> Sizes:
        """The numbers of images of a task. Raises ``UserError`` if it is unknown or its data are not here."""
        if task not in self._sizes:
            self._sizes[task] = self.catalog.sizes(task, self.options)
        return self._sizes[task]

    def passes(self, method: str, task: str, training: Training) -> float:
        """Passes that training and validating a cell take; 0 for a post-hoc method."""
        card, images = self.catalog.method(method), self.sizes(task)
        if card.kind == "post-hoc":
            return 0.0
        validations = training.epochs if card.epoch_passes else 1
        seen = training.images_seen(images.train, max(1, self.catalog.card(task).domains))
        return card.first_passes * images.train + card.epoch_passes * seen + validations * images.val

    def prediction_bytes(self, task: str, images: int) -> float:
        """Approximate bytes of a cell's predictions of images: logits of classes and contexts, and names."""
        card = self.catalog.card(task)
        numbers = len(card.classes) + len(card.contexts or card.bank(STANDARD))
        if images * numbers * 4 > WHOLE_UP_TO:
            numbers = 4 * KEPT
        return images * (4 * numbers + NAME_BYTES)


@dataclass(frozen=True)
class Hardware:
    """Hardware that a rate is valid for: device (cpu or cuda), workers of a cell, precision of its numbers."""

    device: str
    workers: int
    precision: str
    machine: Mapping[str, Any] | None = None
    """Machine as a record's provenance names it; None for the unknown machines of a cluster, which any record fits."""
    sharing: int = 1
    """Cells that share a GPU."""
    gpu_model: str = ""
    """GPU card of the forecast where the machines are not at hand; empty: the card of ``machine``."""
    compiles: bool = False
    """Whether each training compiles the image encoders."""

    @property
    def card(self) -> GpuCard | None:
        """The GPU card; None on a CPU and where its peak is not known."""
        if self.device != "cuda":
            return None
        if self.gpu_model or self.machine is None:
            return gpu_card(self.gpu_model)
        return gpu_card(str(self.machine.get("gpu", "")))

    @property
    def unit(self) -> str:
        """What computes, in words."""
        return "GPU" if self.device == "cuda" else "core"

    @property
    def devices(self) -> float:
        """GPUs, or cores, of one cell."""
        return self.workers / self.sharing

    def fits(self, record: Record) -> bool:
        """Whether a record was made on this hardware."""
        execution, machine = record.made_with.execution, record.made_with.machine
        used = (execution.device, execution.workers, execution.cells_per_gpu, execution.compile)
        if used != (self.device, self.workers, self.sharing, self.compiles) or record.cell.precision != self.precision:
            return False
        wanted = self.machine or {}
        return all(machine.get(name) == value for name, value in wanted.items())

    def __str__(self) -> str:
        shared = ""
        if self.sharing > 1:
            shared = f", {self.sharing} cells on each"
        if self.machine is None:
            return f"{self.gpu_model or self.device} of any machine{shared}"
        cores = f"{self.machine.get('processor')}, {self.machine.get('cores')} cores"
        return f"{self.machine.get('gpu') or cores}{shared}"


@dataclass(frozen=True)
class Rate:
    """Seconds for one pass: the median, and both ends of the range."""

    seconds: float
    low: float
    high: float
    basis: str
    """What they come from, as text."""
    estimate: bool = False
    """Whether nothing was measured."""
    begin_s: float = 0.0
    """Seconds of each job that trains before its passes take their time; those of records include it."""


def recorded(records: Iterable[Record], hardware: Hardware, costs: Costs) -> Rate | None:
    """The rate of the cells on record that trained in epochs on ``hardware``; None where there are none.

    It is the median of cells, from the fastest to the slowest one and a factor of :data:`SPREAD` beyond.
    """
    seconds: list[float] = []  # a pass, of each record
    for record in records:
        cell = record.cell
        passes = costs.passes(cell.method, cell.task, cell.training)
        took = record.durations.get("train", 0.0) + record.durations.get("validate", 0.0)
        if hardware.fits(record) and costs.catalog.method(cell.method).epoch_passes and took:
            seconds.append(took / passes)
    if not seconds:
        return None
    count = len(seconds)
    basis = f"{count} cell{'s' * (count > 1)} on record here, on {hardware}"
    return Rate(statistics.median(seconds), min(seconds) / SPREAD, max(seconds) * SPREAD, basis)


def newest(store: Store, model: str, costs: Costs) -> Iterator[Record]:
    """The newest records of a model, at most :data:`MAX_RECORDS`."""
    paths = sorted(store.root.glob("cells/*/record.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths[:MAX_RECORDS]:
        try:
            record = store.read(path.parent.name)
            costs.passes(record.cell.method, record.cell.task, record.cell.training)
        except UserError:
            continue  # corrupt, or of a task or method that this machine does not have
        if model_by_name(record.cell.model) == model_by_name(model):
            yield record


def estimated(size: ModelSize | None, hardware: Hardware) -> Rate:
    """The rate from the size of a model and the speed of the hardware: a share of the peak of a known card, or assumed.

    It is 0 where the size is not known.
    """
    if size is None:
        return Rate(0.0, 0.0, 0.0, "nothing: the model's size is not known, and nothing was measured", estimate=True)
    card = hardware.card
    if card is not None:
        peak = card.peak(hardware.precision)
        speed, most, least = UTILISATION * peak, MOST_UTILISATION * peak, LEAST_UTILISATION * peak
        share = f"{UTILISATION:.0%} ({LEAST_UTILISATION:.0%} to {MOST_UTILISATION:.0%})"
        words = f"{share} of the {peak / 1e12:g} TFLOP/s of a card ({card.source}), as with --compile"
    else:
        speed = CPU_SPEED if hardware.device == "cpu" else GPU_SPEED[hardware.precision]
        most, least = speed * WITHIN, speed / WITHIN
        words = f"an assumed {speed / 1e12:g} TFLOP/s a worker; right within a factor of {WITHIN:g} or so"
    flop = size.flop / hardware.devices
    basis = f"an estimate, not a measurement: {size.flop / 1e9:.3g} GFLOP an image at {words}"
    begin_s = COMPILE_S if hardware.compiles else 0.0
    return Rate(flop / speed, flop / most, flop / least, basis, estimate=True, begin_s=begin_s)
