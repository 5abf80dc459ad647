"""Seconds that a model takes for one pass on some hardware: from records, or from the size of the model.

A pass is one image through the image encoder, forward. A training step on an image counts as several passes, as the
method's card states, so one rate serves all methods. No Ray, no torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from carft.core.errors import UserError
from carft.data.catalog import card
from carft.data.counting import Sizes, sizes_of
from carft.models.availability import ModelSize
from carft.spec.registry import method_card
from carft.spec.training import Training
from carft.spec.weights import model_by_name
from carft.store.records import Record, Store

#: records that are read at most, the newest first
MAX_RECORDS = 400
#: assumed floating-point operations per second of a CPU thread, and of a GPU by precision
CPU_SPEED = 4e10
GPU_SPEED = {"float32": 1.2e13, "tf32": 3e13, "bfloat16": 6e13, "float16": 6e13}
#: factor within which the assumed speeds are right
WITHIN = 4.0

sizes = cache(sizes_of)


@dataclass(frozen=True)
class Hardware:
    """Hardware that a rate is valid for."""

    device: str
    """cpu or cuda."""
    workers: int
    """Workers of a cell."""
    precision: str
    """float32 or bfloat16."""
    machine: Mapping[str, Any] | None = None
    """Machine as a record's provenance names it; None for the unknown machines of a cluster, which any record fits."""
    sharing: int = 1
    """Cells that share a GPU."""

    @property
    def devices(self) -> float:
        """GPUs, or cores, of one cell."""
        return self.workers / self.sharing

    def fits(self, record: Record) -> bool:
        """Whether a record was made on this hardware."""
        execution, machine = record.provenance.get("execution", {}), record.provenance.get("machine", {})
        found = (execution.get("device"), execution.get("workers"), execution.get("cells_per_gpu", 1))
        same = found == (self.device, self.workers, self.sharing) and record.cell.precision == self.precision
        return same and all(machine.get(name) == value for name, value in (self.machine or {}).items())

    def __str__(self) -> str:
        shared = f", {self.sharing} cells on each" if self.sharing > 1 else ""
        if self.machine is None:
            return f"{self.device} of any machine{shared}"
        cores = f"{self.machine.get('processor')}, {self.machine.get('cores')} cores"
        return f"{self.machine.get('gpu') or cores}{shared}"


@dataclass(frozen=True)
class Rate:
    """Seconds for one pass."""

    seconds: float
    """Median, in seconds."""
    low: float
    """Low end of the range, in seconds."""
    high: float
    """High end of the range, in seconds."""
    basis: str
    """What the rate comes from, as text."""
    estimate: bool = False
    """Whether nothing was measured."""


def passes_of(method: str, task: str, images: Sizes, training: Training) -> float:
    """Passes that training and validating a cell take."""
    chosen = method_card(method)
    validations = training.epochs if chosen.epoch_passes else 1
    seen = training.images_seen(images.train, max(1, card(task).domains))
    return chosen.first_passes * images.train + chosen.epoch_passes * seen + validations * images.val


def recorded(records: Iterable[Record], hardware: Hardware) -> Rate | None:
    """Median rate of the records that were made on ``hardware``; its range holds the middle 80 %. None without any."""
    found = sorted(rate for record in records if hardware.fits(record) and (rate := _rate_of(record)) > 0)
    if not found:
        return None
    edge, basis = len(found) // 10, f"{len(found)} cell{'s' * (len(found) > 1)} on record here, on {hardware}"
    return Rate(statistics.median(found), found[edge], found[-1 - edge], basis)


def _rate_of(record: Record) -> float:
    """Seconds per pass; 0 where a record does not tell."""
    cell, seconds = record.cell, record.durations.get("train", 0.0) + record.durations.get("validate", 0.0)
    if method_card(cell.method).kind == "post-hoc":
        return 0.0
    return seconds / passes_of(cell.method, cell.task, sizes(cell.task), cell.training)


def newest(store: Store, model: str) -> Iterator[Record]:
    """The newest records of a model, at most :data:`MAX_RECORDS`."""
    paths = sorted(store.root.glob("cells/*/record.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths[:MAX_RECORDS]:
        try:
            record = store.read(path.parent.name)
            sizes(record.cell.task), method_card(record.cell.method)
        except UserError:
            continue  # corrupt, or of a task or method that this machine does not have
        if model_by_name(record.cell.model) == model_by_name(model):
            yield record


def estimated(size: ModelSize, hardware: Hardware) -> Rate:
    """Rate from the size of a model and an assumed speed of the hardware."""
    speed = CPU_SPEED if hardware.device == "cpu" else GPU_SPEED[hardware.precision]
    seconds = size.flop / speed / hardware.devices
    assumed = f"{size.flop / 1e9:.3g} GFLOP an image at an assumed {speed / 1e12:g} TFLOP/s a worker"
    basis = f"an estimate, not a measurement: {assumed}; right within a factor of {WITHIN:g} or so"
    return Rate(seconds, seconds / WITHIN, seconds * WITHIN, basis, estimate=True)
