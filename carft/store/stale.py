"""Finished cells that the same request would not reproduce here today, and why. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from carft import NUMERICS
from carft.core.errors import UserError
from carft.data.packages import StoredFamily
from carft.spec.catalog import Catalog
from carft.store.records import Record, Store


def stale_cells(store: Store) -> list[dict[str, Any]]:
    """One row for each reason: cell, task, method, kind of reason (``what``), and the reason (``why``)."""
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
            card, family = catalog.card(task), catalog.family(task)
            if isinstance(family, StoredFamily):
                family.installed(card)
            versions[task] = card.version
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
    if attested.startswith("no"):
        yield "attestation", f"the data were not those of the catalog: {attested.removeprefix('no: ')}"
    elif attested == "pixels differ":
        yield "attestation", "the pixels of the drawings differ from the attested ones"
    elif not attested:
        yield "attestation", "the record does not name its data"
    elif attested != "yes":
        yield "attestation", "the record holds no digest of the data"
