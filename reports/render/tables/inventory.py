"""What a results folder holds: its cells, what must hold of them, and what cannot be used."""

from collections.abc import Iterator

import pandas as pd

from carft.catalog.catalog import Catalog
from carft.catalog.resolve import command
from carft.config.cell import Cell
from carft.core.errors import UserError
from reports.judge.findings import Findings
from reports.render.tables.table import Column, TableRow, share, table

#: the metrics of a cell
METRICS = ("val/*", "test/*", "ood/*", "train/*")
SHARES = ("*/*top1", "*/*per_class")


@table(
    "Cells",
    "Every cell with the command that makes it again.",
    ["cell"],
    columns=dict.fromkeys(SHARES, share(metric="{}")) | dict.fromkeys(METRICS, Column(metric="{}")),
    on_page=False,
)
def cells(findings: Findings) -> pd.DataFrame:
    """The frame of all cells, as of :func:`reports.read_cells`, with the command that runs each again."""
    folder = findings.evidence.folder
    commands = []
    for record in folder.records.values():
        commands.append(_again(record.cell, folder.catalog, bool(folder.evaluated(record.id))))
    table = folder.cells.assign(command=commands).reset_index()
    return table.sort_values(["task", "method", "seed", "cell"], ignore_index=True)


def _again(cell: Cell, catalog: Catalog, is_open: bool) -> str:
    """The command that runs a cell again; empty for a task that the catalog does not know."""
    try:
        return command(cell, "again", catalog=catalog, unseal=is_open)
    except UserError:
        return ""


@table(
    "What could not be used",
    "Corrupt, failed, missing, of other numerics or data, or not the largest study of its question.",
    ["what", "where"],
)
def problems(findings: Findings) -> pd.DataFrame:
    """What the report cannot use: corrupt or failed cells, other numerics or data, studies that are not the largest."""
    rows = [(note.kind, note.where, note.text) for note in findings.notes]
    return pd.DataFrame(rows, columns=["what", "where", "words"]).drop_duplicates(ignore_index=True)


@table(
    "Null checks",
    "What must hold, on these records, before any comparison means something.",
    ["check"],
)
def nulls(findings: Findings) -> Iterator[TableRow]:
    """One row per check: passed, failed or not checkable, with why and the cells."""
    for check in findings.checks:
        named = {"check": check.name, "status": check.status, "words": check.words}
        yield {**named, "n_cells": len(check.cells), "cells": " ".join(check.cells)}
