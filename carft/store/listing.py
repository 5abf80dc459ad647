"""The rows that `ls` prints, as plain values. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from carft import NUMERICS
from carft.config.catalog import Catalog
from carft.config.plugins import GROUP
from carft.core.errors import UserError
from carft.core.source import installed
from carft.data.fixtures import is_fixture
from carft.data.sets import DataSet
from carft.store.records import Record, Store

Rows = list[dict[str, Any]]


def list_tasks(store: Store) -> Rows:
    """Tasks of this package and of installed ones."""
    return [
        {"task": c.name, "scale": c.scale, "classes": len(c.classes), "suites": list(c.suites), "version": c.version}
        for c in store.catalog.cards()
    ]


def list_data_sets(chosen: Iterable[DataSet], root: Path | None = None) -> Rows:
    """Data sets. With a data root, ``there`` is ``here``, ``fixture``, ``half here`` (incomplete) or ``-`` (absent)."""
    return [
        {
            "data set": d.name,
            **({"there": _state(d, root)} if root else {}),
            "measures": d.measures,
            "classes": len(d.classes),
            "images": dict(d.counts),
            "place": d.folder,
            "fetch": bool(d.archives),
            "digests": len(d.digests),
            "licence": d.licence,
            "source": d.source,
        }
        for d in chosen
    ]


def _state(data_set: DataSet, root: Path) -> str:
    folder = root / data_set.folder
    if not folder.exists():
        return "-"
    try:
        data_set.require_present(root)
    except UserError:
        return "half here"
    return "fixture" if is_fixture(folder) else "here"


def list_methods(store: Store) -> Rows:
    """Methods of the registry, installed ones included."""
    cards = map(store.catalog.method, dict.fromkeys((*store.catalog.methods, *installed(GROUP))))
    return [{"method": m.name, "kind": m.kind, "tuned": list(m.space), "summary": m.summary} for m in cards]


def list_cells(store: Store) -> Rows:
    """Finished cells of the current NUMERICS."""
    store.require_present()
    return [
        {
            "cell": r.id,
            "task": r.cell.task,
            "method": r.cell.method,
            "hyperparameters": ", ".join(f"{k}={v:.4g}" for k, v in r.cell.hyperparameters.items()),
            "seed": r.cell.seed,
            "val/top1": r.metrics["val/top1"],
            "unsealed": store.is_unsealed(r.id),
        }
        for r in store.records()
    ]


def list_studies(store: Store) -> Rows:
    """Studies with the number of their trials that have ended."""
    store.require_present()
    return [
        {
            "study": s.id,
            "task": s.task,
            "method": s.method,
            "epochs": s.training.epochs,
            "trials": len(s.trials),
            "done": sum(t.status == "done" for t in s.trials),
            "winner": s.winner or "-",
        }
        for s in store.studies()
    ]


LISTINGS: dict[str, Callable[[Store], Rows]] = {
    "tasks": list_tasks,
    "methods": list_methods,
    "cells": list_cells,
    "studies": list_studies,
}


def list_stale(store: Store) -> Rows:
    """Finished cells that the same request would not reproduce here today.

    One row for each reason: cell, task, method, kind of reason (``what``), and the reason (``why``).
    """
    store.require_present()
    versions: dict[str, str | UserError] = {}
    rows = []
    for cell in store.ids():
        try:
            record = store.read(cell)
        except UserError as refusal:
            rows.append({"cell": cell, "task": "", "method": "", "what": "corrupt", "why": refusal.message})
            continue
        named = {"cell": cell, "task": record.cell.task, "method": record.cell.method}
        rows += [{**named, "what": what, "why": why} for what, why in _reasons(record, store.catalog, versions)]
    return rows


def _reasons(record: Record, catalog: Catalog, versions: dict[str, str | UserError]) -> Iterator[tuple[str, str]]:
    """(kind, sentence) of every reason why a record is stale.

    versions: cache that this function fills: task -> version of its data here, or why the task is unknown.
    """
    if record.numerics != NUMERICS:
        why = f"computed under NUMERICS {record.numerics}, this code is {NUMERICS}; a sweep runs the cell again"
        yield "numerics", why
    task = record.cell.task
    if task not in versions:
        try:
            versions[task] = catalog.opener(task)[1].version
        except UserError as refusal:
            versions[task] = refusal
    here = versions[task]
    if isinstance(here, UserError):
        yield "task", here.message
    elif here != record.cell.data_version:
        why = f"its data are {record.cell.data_version}, here they are {here}; a sweep runs other cells"
        yield "data version", why
    digests = record.provenance.get("digests")
    attested = str(digests.get("attested", "")) if isinstance(digests, dict) else ""
    not_held = "the record holds no digest of the data"
    why = {
        "yes": "",
        "": "the record does not name its data",
        "pixels differ": "the pixels of the drawings differ from the attested ones",
    }.get(attested, not_held)
    if attested.startswith("no"):
        why = f"the data were not those of the catalog: {attested.removeprefix('no: ')}"
    if why:
        yield "attestation", why
