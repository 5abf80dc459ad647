"""What a results folder holds: its cells, which were unsealed, what must hold of them, and what cannot be used."""

from collections.abc import Iterator
from dataclasses import asdict

import pandas as pd

from carft.catalog.catalog import Catalog
from carft.catalog.resolve import command
from carft.config.cell import Cell, Reading
from carft.core.errors import UserError
from reports.evidence.caveats import TEST_SEEN
from reports.evidence.evidence import Entry
from reports.evidence.note import Note
from reports.tables.table import Sources, TableRow, table
from reports.words.tables_words import setting_words


@table(
    "Cells",
    "Every cell with the command that makes it again.",
    ["cell"],
    shares=("val_top1",),
    metrics={"val_top1": "val/top1"},
    on_page=False,
)
def cells(sources: Sources) -> Iterator[TableRow]:
    """One row per cell, with the command that runs it again. reading: its factors that differ from the default."""
    archive, default = sources.evidence.archive, asdict(Reading())
    for record in sorted(archive.records.values(), key=lambda r: (r.cell.task, r.cell.method, r.cell.seed, r.id)):
        cell, made = record.cell, record.made_with
        factors = {name: value for name, value in asdict(cell.reading).items() if value != default[name]}
        yield {
            "cell": record.id,
            "task": cell.task,
            "method": cell.method,
            "hyperparameters": " ".join(f"{k}={v:.4g}" for k, v in cell.hyperparameters.items()),
            "seed": cell.seed,
            "reading": setting_words(factors),
            "val_top1": record.metrics["val/top1"],
            "carft": made.carft,
            "numerics": made.numerics,
            "torch": made.packages.get("torch", ""),
            "command": _again(cell, archive.catalog, bool(archive.evaluated(record.id))),
        }


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
def problems(sources: Sources) -> pd.DataFrame:
    """What the report cannot use: corrupt or failed cells, other numerics or data, studies that are not the largest."""
    found = list(sources.evidence.archive.problems)
    for view in sources.evidence.views():
        for study in view.dropped:
            size = f"{len(study.trials)} trials, {study.training.epochs} epochs"
            why = f"another recipe or way to select, or fewer trials, than what {view.name} reports"
            found.append(Note("study not used", f"{study.method} on {study.task}, {size}: {why}.", where=study.id))
        for study in view.studies:
            opened = view.cells(study.task, Entry(study.method))
            missing = ", ".join(cell for cell in study.confirm if cell not in opened)
            if missing:
                words = f"{study.method} on {study.task}: {missing} not finished, unsealed or readable."
                found.append(Note("missing seed", words, where=study.id))
    rows = [(note.kind, note.where, note.text) for note in found]
    return pd.DataFrame(rows, columns=["what", "where", "words"]).drop_duplicates(ignore_index=True)


@table(
    "Unsealings",
    "Cells whose held-out sets were opened, how often, and by which command.",
    ["cell"],
    hidden=(),
    on_page=False,
)
def unsealings(sources: Sources) -> pd.DataFrame:
    """One row per cell that was evaluated on sealed sets."""
    access, columns = sources.unsealings, ("cell", "task", "method", "role", "sets", "most_often", "by", "caution")
    rows = []
    for cell, sets in sorted(access.openings.items()):
        record = sources.evidence.records.get(cell)
        task, method = (record.cell.task, record.cell.method) if record else ("", "")
        role, by = access.roles.get(cell, "superseded"), " ".join(sorted(access.by.get(cell, ())))
        caution = TEST_SEEN if cell in access.seen else ""
        rows.append((cell, task, method, role, " ".join(sorted(sets)), max(sets.values()), by, caution))
    return pd.DataFrame(rows, columns=list(columns))


@table(
    "Null checks",
    "What must hold, on these records, before any comparison means something.",
    ["check"],
)
def nulls(sources: Sources) -> Iterator[TableRow]:
    """One row per check: passed, failed or not checkable, with why and the cells."""
    for check in sources.checks:
        named = {"check": check.name, "status": check.status, "words": check.words}
        yield {**named, "n_cells": len(check.cells), "cells": " ".join(check.cells)}
