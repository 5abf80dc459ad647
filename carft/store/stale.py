"""Finished cells that the same request would not reproduce here today, and why. No torch."""

from __future__ import annotations

from typing import Any

from carft import NUMERICS
from carft.core.errors import UserError
from carft.data.catalog import card
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
        for what, why in reasons(record, versions):
            rows.append(
                {"cell": cell, "task": record.cell.task, "method": record.cell.method, "what": what, "why": why}
            )
    return rows


def reasons(record: Record, versions: dict[str, str | UserError]) -> list[tuple[str, str]]:
    """(kind, sentence) of every reason why a record is stale.

    Args:
        record: The record of a finished cell.
        versions: Cache that this function fills: task -> version of its data here, or why the task is unknown.
    """
    return [*_numerics(record), *_version(record, versions), *_attestation(record)]


def _numerics(record: Record) -> list[tuple[str, str]]:
    if record.numerics == NUMERICS:
        return []
    why = f"computed under NUMERICS {record.numerics}, this code is {NUMERICS}; a sweep runs the cell again"
    return [("numerics", why)]


def _version(record: Record, versions: dict[str, str | UserError]) -> list[tuple[str, str]]:
    task = record.cell.task
    if task not in versions:
        try:
            versions[task] = card(task).version
        except UserError as refusal:
            versions[task] = refusal
    here = versions[task]
    if isinstance(here, UserError):
        return [("task", f"the task is not known here: {here.message}")]
    if here == record.cell.data_version:
        return []
    return [
        ("data version", f"its data are {record.cell.data_version}, here they are {here}; a sweep runs other cells")
    ]


def _attestation(record: Record) -> list[tuple[str, str]]:
    digests = record.provenance.get("digests")
    attested = str(digests.get("attested", "")) if isinstance(digests, dict) else ""
    if attested == "yes":
        return []
    if attested.startswith("no"):
        return [("attestation", f"the data were not those of the catalog: {attested.removeprefix('no: ')}")]
    if attested == "pixels differ":
        return [("attestation", "the pixels of the drawings differ from the attested ones")]
    return [
        ("attestation", "the record holds no digest of the data" if attested else "the record does not name its data")
    ]
