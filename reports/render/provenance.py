"""The cells of a folder, and where every number of the page comes from, as blocks of JSON for its script."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from sys import intern
from typing import Any

import numpy as np

from carft.store.records import Record
from reports.analysis.contrasts import Part
from reports.claims.claim import Verdict
from reports.evidence.evidence import label
from reports.render.formatting import FormattedTable, amount
from reports.tables.table import Sources, TableCard, TableRow, rows_of, table_cards
from reports.words.provenance_words import maker_words, setting_line
from reports.words.verdict_words import computed_words, reason_words, variance_words

CELL_COLUMNS = (
    *(("cell", False), ("task", False), ("method", False), ("hyperparameters", False), ("seed", True)),
    *(("role", False), ("val", True), ("ID test", True), ("mean OOD", True), ("caution", False)),
)
#: (verdict, part, what stands before how its numbers were computed)
RowOfNumbers = tuple[Verdict, Part | None, Sequence[tuple[str, str]]]
#: numbers of a verdict or one of its parts: column -> heading
NUMBERS = {"effect": "points", "low": "low", "high": "high", "smallest_visible": "visible from"}


def cell_block(sources: Sources) -> dict[str, Any]:
    """The JSON block of all cells: columns and rows of their list, and the details of each."""
    rows, details = [], []
    for row in rows_of(sources.table("cells")):
        record = sources.evidence.records[row["cell"]]
        metrics = _shown_metrics(sources, record)
        rows.append((*_facts(sources, record, row), *_levels(metrics), row.get("caution", "")))
        details.append(
            {
                "command": row["command"],
                "setting": intern(setting_line(record.cell)),  # one text for all cells that have the same
                "maker": intern(maker_words(record.made_with)),
                "metrics": {name: _rounded(value) for name, value in metrics.items()},
                "parents": record.cell.parents,
            }
        )
    return {"columns": CELL_COLUMNS, "rows": rows, "details": details}


def _shown_metrics(sources: Sources, record: Record) -> Mapping[str, float]:
    """The metrics of a cell: with those of held-out sets where these were opened."""
    if record.id in sources.unsealings.openings:
        return sources.evidence.metrics(record.id)
    return record.metrics


def _facts(sources: Sources, record: Record, row: TableRow) -> tuple[str, ...]:
    """Id, task, method, hyperparameters, seed and role of a cell. row: the cell's row in the table of cells."""
    evidence = sources.evidence
    parent_methods = set()
    for parent in record.cell.parents:
        if parent in evidence.records:
            parent_methods.add(evidence.records[parent].cell.method)
    method = row["method"]
    if len(parent_methods) == 1:
        (parent_method,) = parent_methods
        method = f"{method}({parent_method})"
    role = str(sources.evidence.archive.cells.at[record.id, "role"])
    return row["cell"], row["task"], label(method, evidence.methods), row["hyperparameters"], str(row["seed"]), role


def _levels(metrics: Mapping[str, float]) -> list[str]:
    """What a cell reaches on validation, the ID test set and the mean of the suites."""
    return [amount(metrics.get(name), sign=False) for name in ("val/top1", "test/top1", "ood/mean/top1")]


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def provenance(sources: Sources, tables: Sequence[FormattedTable], cells: Mapping[str, Any]) -> dict[str, Any]:
    """What the page opens of a row. tables: those that it shows. cells: the block of all cells.

    Each table has, of every row in order, its address as in ``report why``, and the place of its list of cells in
    ``sets``. A list of cells holds the first place and then the steps from each to the next; cells without a record are
    left out. ``columns`` has of each column the place of its formula and the metric of the cells whose mean it is;
    None for a key. The verdicts and their parts have their numbers and workings too.
    """
    cell_places = {row[0]: place for place, row in enumerate(cells["rows"])}
    measured: set[str] = set()
    for detail in cells["details"]:
        measured.update(detail["metrics"])
    columns_of: dict[str, Sequence[str]] = {}
    for table in tables:
        if table.rows:
            columns_of[table.name] = table.names
    columns_of |= {"claims": [*NUMBERS], "verdicts": [*NUMBERS]}
    places = Places()
    described = {}
    for name, columns in columns_of.items():
        card, rows = table_cards()[name], rows_of(sources.table(name))
        described[name] = {
            "title": card.title,
            "keys": card.short_keys(rows),
            "columns": [places.of_column(card, column, measured) for column in columns],
            "cells": [places.of_cells(card.cells(sources, row), cell_places) for row in rows],
        }
    verdicts = sources.verdicts
    rules: list[RowOfNumbers] = []
    parts: list[RowOfNumbers] = []
    for verdict in verdicts:
        rules.append((verdict, verdict.shown, [("rule", verdict.asked.rule), ("verdict", reason_words(verdict))]))
        for part in verdict.parts:
            parts.append((verdict, part, []))
    described["claims"] |= _numbers(rules)
    described["verdicts"] |= _numbers(parts)
    return {"formulas": list(places.formulas), "sets": list(places.sets), "tables": described}


@dataclass
class Places:
    """Places in the lists of formulas and of sets of cells, which each hold a thing once."""

    formulas: dict[str, int] = field(default_factory=dict)
    sets: dict[tuple[int, ...], int] = field(default_factory=dict)
    _last: tuple[Sequence[str], int] | None = None
    """The list of cells that was asked for last, which many rows in turn may share, and its place."""

    def of_column(self, card: TableCard, column: str, measured: Set[str]) -> tuple[int, str | None] | None:
        """(place of the formula, metric of the cells) of a column; None for a key. measured: metrics of any cell."""
        place, metric = self.formulas.setdefault(card.formula(column), len(self.formulas)), card.metric(column)
        if column in card.keys:
            return None
        return place, metric if metric in measured else None

    def of_cells(self, cells: Sequence[str], places: Mapping[str, int]) -> int:
        """The place of a list of cells. places: cell with a record -> its place in the list of all."""
        if self._last is None or self._last[0] is not cells:
            steps = np.diff([places[cell] for cell in cells if cell in places], prepend=0).tolist()
            self._last = cells, self.sets.setdefault(tuple(steps), len(self.sets))
        return self._last[1]


def _numbers(rows: Sequence[RowOfNumbers]) -> dict[str, Any]:
    """The numbers of verdicts or of their parts, and how they were computed; none without a part."""
    values: list[list[str]] = []
    facts: list[list[tuple[str, str]]] = []
    for verdict, part, before in rows:
        if part is None:
            values.append([])
            facts.append([*before])
            continue
        unit, visible = verdict.number.unit, part.estimate.smallest_visible()
        bounds = amount(part.low, unit), amount(part.high, unit)
        values.append([amount(part.estimate.effect, unit), *bounds, amount(visible, unit, sign=False)])
        computed = ("computed", computed_words(part))
        facts.append([*before, ("part", part.name), computed, ("variance in points squared", variance_words(part))])
    return {"headings": list(NUMBERS.values()), "values": values, "facts": facts}
