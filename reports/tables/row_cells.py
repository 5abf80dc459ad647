"""The cells that a row of a table rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.evidence.evidence import CAR_FT, FT, Entry, Evidence, table_entries
from reports.tables.sources import Sources

Row = Mapping[str, Any]


def named_cells(sources: Sources, row: Row) -> Sequence[str]:
    """The cells in the row's column ``cells`` or ``cell``."""
    return str(row.get("cells", row.get("cell", ""))).split()


def cells_of_part(sources: Sources, row: Row) -> Sequence[str]:
    """The cells of the part of a verdict."""
    mine = [v for v in sources.verdicts if (v.claim, v.scope) == (row["claim"], row["scope"])]
    return next((part.cells for v in mine for part in v.parts if part.name == row["part"]), ())


def _view(sources: Sources, row: Row) -> Evidence:
    """The part of the evidence that a row is of: a table never pools over two scopes."""
    return next(view for view in sources.evidence.views() if view.name == row["scope"])


def _of_entries(sources: Sources, row: Row, entries: Sequence[Entry]) -> list[str]:
    """The cells of entries on every task of the scope of a row."""
    view = _view(sources, row)
    return [cell for task in view.tasks for entry in entries for cell in view.cells(task, entry)]


def cells_of_method(sources: Sources, row: Row) -> list[str]:
    """Confirm cells of the method of a row, on every task of its scope."""
    return _of_entries(sources, row, [next(e for e in table_entries() if e.label == row["method"])])


def trials_of_method(sources: Sources, row: Row) -> list[str]:
    """Search cells of the method of a row, on every task of its scope."""
    trials = sources.trials
    mine = (trials["method"] == row["method"]) & (trials["scope"] == row["scope"])
    return trials.loc[mine, "cell"].tolist()


def cells_on_curve(sources: Sources, row: Row) -> Sequence[str]:
    """Interpolations of the parent of a row with its alpha."""
    task = sources.evidence.archive.task(row["task"])
    return _view(sources, row).cells(task, Entry("wise_ft", row["parent"], row["alpha"]))


def cells_in_history(sources: Sources, row: Row) -> Sequence[str]:
    """Confirm cells of the method of a row that are finished."""
    studies = [s for s in _view(sources, row).studies if s.method == row["method"]]
    return [cell for study in studies for cell in study.confirm if cell in sources.evidence.records]


def cells_of_both(sources: Sources, row: Row) -> list[str]:
    """Confirm cells of FT and CAR-FT on every task of the scope of a row."""
    return _of_entries(sources, row, (FT, CAR_FT))


def cells_on_line(sources: Sources, row: Row) -> list[str]:
    """Interpolations of the method of a row at every alpha, on every task of its scope."""
    alphas = _view(sources, row).alphas()
    return _of_entries(sources, row, [Entry("wise_ft", row["method"], alpha) for alpha in alphas])
