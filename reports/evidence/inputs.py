"""What cells used after all caches, by the digests in their records: pixels, heads, stored features, first batch."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import Enum, auto

from carft.config.cell import Reading
from carft.core.errors import UserError
from carft.data.checking import UNREADABLE
from carft.data.icons.world import attested_pixels
from carft.store.record_files import Record
from carft.store.records import Store
from reports.evidence.findings import Finding, What

#: difference of the losses of two methods in the first step, before any update
FIRST_LOSS = 1e-4


class Attested(Enum):
    """What a record says of its data against the published digests."""

    YES = auto()
    UNKNOWN = auto()
    """Nothing is published, or the record is of an earlier version."""
    OTHER_PIXELS = auto()
    """Pictures that this machine renders otherwise."""
    FIXTURE = auto()
    """No real image."""
    LEFT_OUT = auto()
    """Images that cannot be read are left out, and nothing else is wrong."""
    FAILED = auto()

    @staticmethod
    def of(record: Record) -> "Attested":
        """That of a record, which holds it as text."""
        text = (record.provenance.get("digests") or {}).get("attested", "unknown")
        known = {"yes": Attested.YES, "unknown": Attested.UNKNOWN, "pixels differ": Attested.OTHER_PIXELS}
        if text in known:
            return known[text]
        if text.startswith(f"no: {UNREADABLE}"):  # unreadable images are named last, so nothing stands before them
            return Attested.LEFT_OUT
        return Attested.FIXTURE if "fixture" in text else Attested.FAILED


def input_findings(store: Store, records: Mapping[str, Record]) -> Iterator[Finding]:
    """Find cells with other inputs than attested, or than other cells. Records of earlier versions have no digests."""
    alike: dict[tuple[str, ...], dict[str, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for record in records.values():
        for name, digest in _pixels(store, record).items():
            known = attested_pixels(record.cell.data_version, record.cell.task).get(name.removeprefix("ood/"))
            is_attested = known is not None and Attested.of(record) == Attested.YES
            if is_attested and digest != known:
                yield Finding.of(What.NOT_ATTESTED_PIXELS, cell=record.id, set=name)
            elif not is_attested:
                found = Finding.of(What.OTHER_PIXELS, cell=record.id, set=name)
                alike["pixels", name, *_decoded_by(record)][digest].append(found)
        heads = record.provenance.get("heads")
        if heads:
            bank = record.cell.reading.context_templates
            alike["heads", bank, *_computed_by(record)][heads].append(Finding.of(What.OTHER_HEADS, cell=record.id))
        features = record.provenance.get("features")
        if features:
            key = ("features", features["key"], str(features["epochs"]))
            alike[key][features["digest"]].append(Finding.of(What.OTHER_FEATURES, cell=record.id))
    for of_digest in alike.values():
        *others, _ = sorted(of_digest.values(), key=len)
        for findings in others:
            yield from findings


def _pixels(store: Store, record: Record) -> dict[str, str]:
    """Set -> digest of the pixels that a cell was trained, validated and evaluated on."""
    pixels = dict(record.provenance.get("pixels") or {})
    if not pixels:
        return {}
    try:
        evaluations = store.evaluations(record.id).values()
    except UserError:  # a corrupt evaluation is named elsewhere
        return pixels
    for evaluation in evaluations:
        if evaluation.provenance:
            pixels |= evaluation.provenance.pixels
    return pixels


def _decoded_by(record: Record) -> tuple[str, ...]:
    """What decides the pixels of a set."""
    made, cell = record.provenance, record.cell
    packages = sorted((made.get("packages") or {}).items())
    return cell.task, cell.data_version, cell.eval_view, cell.model, str(packages), str(made.get("jpeg_decoder"))


def _computed_by(record: Record) -> tuple[str, ...]:
    """What decides the heads of a bank of templates, up to their last bits."""
    made, cell = record.provenance, record.cell
    where = [made.get(name) for name in ("cpu", "machine", "packages", "environment")]
    weights = str((made.get("digests") or {}).get("weights"))
    return cell.task, cell.data_version, cell.model, weights, str(where)


def first_losses(store: Store, records: Mapping[str, Record]) -> Iterator[Finding]:
    """Cells of FT and CAR-FT with one seed start from one model with one batch, so their first losses are equal."""
    starts: dict[tuple[object, ...], dict[str, float]] = {}
    for record in records.values():
        cell = record.cell
        if cell.method not in ("ft", "car_ft"):
            continue
        try:
            history = store.history(cell.id)
        except UserError:  # a file that is corrupt is named elsewhere
            continue
        if history.get("step") is None:
            continue
        loss = history["train/loss"][0]
        if "train/kl" in history:
            loss -= cell.hyperparameters["kl_weight"] * history["train/kl"][0]
        same = replace(cell, method="ft", hyperparameters={}, reading=Reading(class_head=cell.reading.class_head))
        starts.setdefault((same.id, str(record.provenance.get("execution"))), {})[cell.id] = float(loss)
    for losses in starts.values():
        middle = sorted(losses.values())[len(losses) // 2]
        for cell_id, loss in losses.items():
            if not math.isclose(loss, middle, rel_tol=FIRST_LOSS, abs_tol=FIRST_LOSS):
                yield Finding.of(What.FIRST_LOSS, cell=cell_id, loss=loss, middle=middle)
