"""Cells that ``report verify --rerun`` runs again: which, and whether they agree."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from carft.core.errors import UserError
from carft_cli.console import err
from carft_cli.options import execution_here

if TYPE_CHECKING:
    from carft.store.record_files import Record
    from carft.store.records import Store
    from reports.claims.claim import Verdict
    from reports.verify import Verification

#: difference of the loss of an untrained model on two processors, at most
RERUN_TOLERANCE = 1e-6


def runnable_records(store: Store, weights: Sequence[str]) -> list[Record]:
    """The records whose cells can be run again; the store's catalog gets where the files lie that a person named.

    Interpolations and soups are made of other cells, and a method of a plugin needs its file: none is drawn. Records
    may come from somebody else, so they do not choose what is loaded: raises ``UserError`` for weights that are neither
    shipped nor named.
    """
    from carft.catalog.resolve import named_weights
    from carft.config.cell import DIGEST_MARK, LOCAL_DIR, display_form, record_form
    from carft.models.availability import is_shipped

    named: dict[str, str] = {}  # digest, or the name of weights without one -> the weights
    for name in weights:
        given = named_weights(name)
        named[given.rpartition(DIGEST_MARK)[2]] = given
    runnable = []
    for record in store.records():
        if record.cell.parents or record.cell.plugin:
            continue
        model, pretrained = record_form(record.cell.model, record.cell.pretrained)
        digest = pretrained.rpartition(DIGEST_MARK)[2]
        if digest not in named and not is_shipped(model, pretrained):
            raise UserError(
                f"Cell {record.id} starts from '{display_form(model, pretrained)[1]}', weights that no package ships.",
                "Where you trust them, name them: --weights, with their file, hf-hub:... or local-dir:...",
            )
        runnable.append(replace(record, cell=replace(record.cell, model=model, pretrained=pretrained)))
    places = {}
    for digest, given in named.items():
        if digest != given:
            places[digest] = given.partition(DIGEST_MARK)[0].removeprefix(LOCAL_DIR)
    store.catalog = store.catalog.with_weights(places)
    return runnable


def drawn_sides(store: Store, runnable: Sequence[Record], count: int, verdicts: Sequence[Verdict]) -> list[Record]:
    """At least ``count`` of ``runnable`` behind verdicts, if there are so many, with both sides of a difference.

    Drawn are the cells of one part of a verdict with one task, budget and seed. In place of an interpolation its cell
    is meant. Where no verdict rests on any of them, ``count`` of all are drawn.
    """
    records = {record.id: record for record in store.records()}
    can_run = {record.id: record for record in runnable}
    sides: dict[frozenset[str], None] = {}
    for verdict in verdicts:
        for part in verdict.parts:
            trained: list[str] = []
            for name in part.cells:
                if name in records:
                    trained += records[name].cell.parents or (name,)
            alike = _by_setting([records[name] for name in trained if name in records and name in can_run])
            sides |= dict.fromkeys(alike)
    if not sides:
        return SystemRandom().sample(list(runnable), min(count, len(runnable)))
    drawn: dict[str, Record] = {}
    for side in SystemRandom().sample(list(sides), len(sides)):
        if len(drawn) >= count:
            break
        for cell_id in sorted(side):
            drawn[cell_id] = can_run[cell_id]
    return list(drawn.values())


def _by_setting(records: Sequence[Record]) -> list[frozenset[str]]:
    """The ids of records, those with one task, start, budget and seed together."""
    from carft.config.cell import id_form

    alike: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for record in records:
        cell = record.cell
        start = id_form(cell.model, cell.pretrained)
        alike[cell.task, *start, cell.seed, str(cell.training)].add(record.id)
    return [frozenset(ids) for ids in alike.values()]


def with_reruns(
    verification: Verification, store: Store, runnable: Sequence[Record], count: int, data: Path | None
) -> Verification:
    """The same with a check of cells behind verdicts that are run again, without any cache, against their records.

    On the same processor with the same packages every metric must be equal. Elsewhere the first loss must be, to
    :data:`RERUN_TOLERANCE`, and classes must agree as those of two seeds do. runnable: records that can be run.
    """
    from carft.core.metrics import ood_means
    from carft.store.records import Store as Folder
    from carft.training.run import run_cell
    from reports.evidence.origins import machine_of
    from reports.evidence.reruns import Rerun, RerunAnswer, agreement, seed_agreement
    from reports.evidence.verification import Difference, Differs
    from reports.verify import VerifyCheck

    records = {record.id: record for record in store.records()}
    differences: list[Difference] = []
    notes: list[Difference] = []
    compared = 0
    for record in drawn_sides(store, runnable, count, verification.verdicts):
        cell = record.cell
        err.say(f"Running cell {record.id} again: {cell.method}, seed {cell.seed}")
        with tempfile.TemporaryDirectory() as scratch:
            again = Folder(Path(scratch) / "results", catalog=store.catalog)
            run_cell(cell, again, execution_here(data), unseal=bool(store.evaluation_paths(record.id)))
            new = again.read(record.id)
            same_machine = machine_of(new) == machine_of(record)
            same = same_machine and _surroundings(new) == _surroundings(record)
            then = {**store.metrics(record.id), **_first_loss(store, record.id)}
            now = {**again.metrics(record.id), **_first_loss(again, record.id)}
            if not same and store.has_predictions(record.id, "val"):
                seeds = seed_agreement(store, records, store.studies(), record.id)
                found = Rerun(record.id, agreement(store, record.id, again, record.id), seeds)
                told = differences if found.answer == RerunAnswer.UNLIKE_SEEDS else notes
                told.append(Difference.of(Differs.RERUN, rerun=found))
                compared += 1
        if same:
            limit = 0.0
            for name in ood_means(then):
                then.pop(name, None)
        else:
            limit = RERUN_TOLERANCE
            then = _first_loss(store, record.id)
        compared += len(then)
        for name, recorded in then.items():
            if name not in now or abs(recorded - now[name]) > limit:
                facts = {"cell": record.id, "metric": name, "then": recorded, "now": now.get(name)}
                differences.append(Difference.of(Differs.RERUN_METRIC, **facts))
    check = VerifyCheck("cells that were run again", compared, tuple(differences))
    return replace(verification, checks=(*verification.checks, check), notes=(*verification.notes, *notes))


def _surroundings(record: Record) -> tuple[object, object]:
    return record.provenance.get("packages"), record.provenance.get("machine")


def _first_loss(store: Store, cell: str) -> dict[str, float]:
    """The loss before any update: of the first step, or on validation where nothing is trained."""
    history = store.history(cell)
    if "train/loss" in history:
        return {"train/loss of the first step": float(history["train/loss"][0])}
    return {"val/loss": store.read(cell).metrics["val/loss"]}
