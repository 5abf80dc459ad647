"""Records to tables, verdicts, figures and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def read_cells(results: str | Path) -> pd.DataFrame:
    """Return the cells of a results folder as a tidy frame, a row a cell, from which a report makes its tables.

    The index has the ids. The columns are scope, task, method, search, seed, role and others, the settings
    (``hp/lr``), and the metrics, as shares of 1 (``val/top1``, ``test/top1``, ``ood/hands/top1``); docs/files.md lists
    them. A cell whose record cannot be read has no row. ``attrs["notes"]`` says why, a sentence each, and what else
    cannot be used.

    results: path or URL. Raises ``UserError`` where there are no results.
    """
    from carft.catalog.catalog import BUILT_IN
    from carft.store.mirror import open_store
    from reports.read.folder import read_folder

    store = open_store(results, BUILT_IN)
    store.require_present()
    read = read_folder(store)
    cells = read.cells.copy()
    cells.attrs["notes"] = [f"{note.where}: {note.text}" for note in read.notes]
    return cells
