"""How fast a model is on some hardware: measured in earlier records, or estimated from its size. No Ray, no torch."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from carft.core.errors import UserError
from carft.data.counting import Sizes, sizes_of
from carft.models.availability import ModelSize
from carft.spec.registry import method_card
from carft.store.records import Record, Store

#: newest records that are read, so that a plan over a large folder stays quick
MOST = 400
#: floating-point operations a second of one CPU thread, and of a GPU by precision: half of what a small cell reaches on
#: a current server's core, and a current data-centre GPU without TF32. Good to a factor of WITHIN, no better
CPU_SPEED = 4e10
GPU_SPEED = {"float32": 1.2e13, "bfloat16": 6e13}
WITHIN = 4.0


@dataclass(frozen=True)
class Hardware:
    """What a rate is true for. machine: as in a record's provenance; None on a cluster, whose machines are not known
    from here: then all that else fits counts. sharing: cells that share a GPU, which slow each other down."""

    device: str
    workers: int
    precision: str
    machine: Mapping[str, Any] | None = None
    sharing: int = 1

    @property
    def devices(self) -> float:
        """GPUs, or cores, that a cell takes up."""
        return self.workers / self.sharing

    def fits(self, record: Record) -> bool:
        """Whether a record was made on it."""
        execution, machine = record.provenance.get("execution", {}), record.provenance.get("machine", {})
        found = (execution.get("device"), execution.get("workers"), execution.get("cells_per_gpu", 1))
        same = found == (self.device, self.workers, self.sharing)
        known = self.machine is None or all(machine.get(name) == value for name, value in self.machine.items())
        return same and known and record.cell.precision == self.precision

    def __str__(self) -> str:
        shared = f", {self.sharing} cells on each" if self.sharing > 1 else ""
        if self.machine is None:
            return f"{self.device} of any machine{shared}"
        cores = f"{self.machine.get('processor')}, {self.machine.get('cores')} cores"
        return f"{self.machine.get('gpu') or cores}{shared}"


@dataclass(frozen=True)
class Rates:
    """Seconds per pass. methods: measured ones. other: of everything else. spread: lowest and highest as shares of the
    middle. basis: what they rest on, in words; estimate: whether that is no measurement."""

    other: float
    methods: Mapping[str, float] = field(default_factory=dict)
    spread: tuple[float, float] = (1.0, 1.0)
    basis: str = ""
    estimate: bool = False

    def of(self, method: str) -> float:
        """Seconds of one pass in a job of this method."""
        return self.methods.get(method, self.other)


def passes_of(method: str, sizes: Sizes, epochs: int) -> float:
    """Passes of the image encoder, counted in images, that training and validating a cell take."""
    card = method_card(method)
    validations = epochs if card.epoch_passes else 1
    return card.first_passes * sizes.train + validations * (card.epoch_passes * sizes.train + sizes.val)


def measured(records: Iterable[Record], hardware: Hardware, where: str) -> Rates | None:
    """Rates from records of one model; None when none of them fits. The spread is that of the middle 80 % of cells
    around the median of their method."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        seconds = record.durations.get("train", 0.0) + record.durations.get("validate", 0.0)
        if seconds > 0 and method_card(record.cell.method).kind != "post-hoc" and hardware.fits(record):
            passes = passes_of(record.cell.method, _sizes(record.cell.task), record.cell.training.epochs)
            found[record.cell.method].append(seconds / passes)
    if not found:
        return None
    middle = {method: statistics.median(each) for method, each in found.items()}
    shares = sorted(rate / middle[method] for method, each in found.items() for rate in each)
    edge = len(shares) // 10
    trained = [rate for method, rate in middle.items() if method_card(method).kind == "trained"]
    return Rates(
        other=statistics.mean(trained or middle.values()),
        methods={**middle, **({"wise_ft": middle["zeroshot"]} if "zeroshot" in middle else {})},
        spread=(shares[edge], shares[-1 - edge]),
        basis=f"{len(shares)} cells {where}, on {hardware}",
    )


def newest(store: Store, model: str) -> Iterable[Record]:
    """The newest whole records of a model in a results folder, at most ``MOST``."""
    paths = sorted(store.root.glob("cells/*/record.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths[:MOST]:
        try:
            record = store.read(path.parent.name)
            _sizes(record.cell.task), method_card(record.cell.method)
        except UserError:
            continue  # torn, or of a task or method that is not here
        if record.cell.model == model:
            yield record


def estimated(size: ModelSize, hardware: Hardware) -> Rates:
    """Rates from a model's size alone: an estimate."""
    speed = CPU_SPEED if hardware.device == "cpu" else GPU_SPEED[hardware.precision]
    each = size.flop / speed / hardware.devices
    said = f"{size.flop / 1e9:.3g} GFLOP an image at an assumed {speed / 1e12:g} TFLOP/s a worker"
    basis = f"an estimate, not a measurement: {said}; right within a factor of {WITHIN:g} or so"
    return Rates(other=each, spread=(1 / WITHIN, WITHIN), basis=basis, estimate=True)


@cache
def _sizes(task: str) -> Sizes:
    return sizes_of(task)
