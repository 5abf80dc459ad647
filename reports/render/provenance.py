"""Where the numbers of the page come from: of every row its address, its formulas, and the cells that it rests on.

The cells are places in the list of all cells of the page, which holds their commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reports.analysis.contrasts import Part
from reports.claims.verdicts import Verdict, as_asked
from reports.claims.workings import computed_words, variance_words
from reports.render.cell_block import place_of
from reports.render.formatting import FormattedTable, amount, shown_part
from reports.tables.card import COPIED, Formula
from reports.tables.registry import TABLES, Tables
from reports.tables.rows import rows_of

#: numbers of a verdict or one of its parts: column -> heading
NUMBERS = {"effect": "points", "low": "low", "high": "high", "smallest_visible": "visible from"}


def provenance(sources: Tables, tables: Sequence[FormattedTable], cells: Mapping[str, Any]) -> dict[str, Any]:
    """What the page opens of a row. tables: those that it shows. cells: the block of all cells.

    Each table has, of every row in order, its address as in ``report why``, and the place of its list of cells in
    ``sets``. A list of cells holds the first place and then the steps from each to the next.
    """
    book = _Book(sources, cells)
    of_tables = {table.name: book.table(table) for table in tables if table.rows}
    of_tables |= {"claims": book.claims(), "verdicts": book.parts()}
    return {"formulas": list(book.formulas), "sets": list(book.sets), "tables": of_tables}


class _Book:
    """Formulas and lists of cells that many rows share are held once."""

    def __init__(self, sources: Tables, cells: Mapping[str, Any]) -> None:
        self.sources = sources
        self.places = {row[0]: k for k, row in enumerate(cells["rows"])}
        self.metrics = {name: k for k, name in enumerate(cells["metrics"])}
        self.formulas: dict[str, int] = {}
        self.sets: dict[tuple[int, ...], int] = {}

    def table(self, shown: FormattedTable) -> dict[str, Any]:
        """A table of the registry. columns: (formula, metric of the cells) of each, None for a column without."""
        card, rows = TABLES[shown.name], rows_of(self.sources.table(shown.name))
        columns = [None if name in card.keys else self.formula(card.formula(name) or COPIED) for name in shown.names]
        return {
            "title": card.title,
            "columns": columns,
            "keys": card.short_keys(rows),
            "cells": [self.cells(card.cells(self.sources, row)) for row in rows],
        }

    def claims(self) -> dict[str, Any]:
        """The verdicts, each with its rule and the numbers of the part that stands for it."""
        shown = [(verdict, shown_part(verdict)) for verdict in self.sources.verdicts]
        facts = [
            [("rule", as_asked(verdict, self.sources.evidence).rule), ("verdict", verdict.reason), *_workings(part)]
            for verdict, part in shown
        ]
        return self._numbers("claims", [verdict.cells for verdict, _ in shown], facts, shown)

    def parts(self) -> dict[str, Any]:
        """The parts of all verdicts."""
        parts = [(verdict, part) for verdict in self.sources.verdicts for part in verdict.parts]
        return self._numbers("verdicts", [p.cells for _, p in parts], [_workings(p) for _, p in parts], parts)

    def _numbers(
        self,
        name: str,
        cells: Iterable[Sequence[str]],
        facts: Sequence[Sequence[tuple[str, str]]],
        shown: Sequence[tuple[Verdict, Part | None]],
    ) -> dict[str, Any]:
        card = TABLES[name]
        return {
            "title": card.title,
            "headings": list(NUMBERS.values()),
            "values": [_values(*pair) for pair in shown],
            "columns": [self.formula(card.formulas[column]) for column in NUMBERS],
            "keys": card.short_keys(rows_of(self.sources.table(name))),
            "cells": [self.cells(names) for names in cells],
            "facts": facts,
        }

    def formula(self, formula: Formula) -> tuple[int, int | None]:
        """A formula and the metric of the cells that it is a mean of, as places."""
        return place_of(formula.words, self.formulas), self.metrics.get(formula.metric or "")

    def cells(self, names: Iterable[str]) -> int:
        """The place of a list of cells. Cells without a record are left out."""
        found = [self.places[name] for name in names if name in self.places]
        return place_of(tuple(b - a for a, b in zip([0, *found], found, strict=False)), self.sets)


def _values(verdict: Verdict, part: Part | None) -> list[str]:
    """The numbers of ``NUMBERS`` as the page shows them; none without a part."""
    if part is None:
        return []
    shown = [amount(value, verdict.unit) for value in (part.estimate.effect, part.low, part.high)]
    return [*shown, amount(part.estimate.smallest_visible(), verdict.unit).lstrip("+")]


def _workings(part: Part | None) -> list[tuple[str, str]]:
    if part is None:
        return []
    variance = ("variance in points squared", variance_words(part))
    return [("part", part.name), ("computed", computed_words(part)), variance]
