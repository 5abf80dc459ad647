"""The cells of a folder, and where every number of the page comes from, as blocks of JSON for its script."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from carft.config.cell import PROTOCOL, Cell
from carft.config.weights import display_form
from reports.analysis.contrasts import Part
from reports.claims.claim import Verdict
from reports.claims.notes import computed_words, variance_words
from reports.evidence.evidence import Evidence, label
from reports.render.formatting import FormattedTable, amount, points, shown_part
from reports.tables.table import COPIED, Formula, Sources, rows_of, table_cards

Value = TypeVar("Value", bound=Hashable)

CELL_COLUMNS = (
    *(("cell", False), ("task", False), ("method", False), ("hyperparameters", False), ("seed", True)),
    *(("role", False), ("val", True), ("ID test", True), ("mean OOD", True), ("caution", False)),
)


def cell_block(sources: Sources) -> dict[str, Any]:
    """The JSON block of all cells: rows of the table and their details. Repeated values are stored once."""
    evidence, seal = sources.evidence, sources.unsealings
    settings: dict[str, int] = {}
    makers: dict[str, int] = {}
    names: dict[str, int] = {}
    rows, details = [], []
    for row in rows_of(sources.table("cells")):
        record = evidence.records[row["cell"]]
        metrics = evidence.metrics(record.id) if record.id in seal.openings else record.metrics
        shown_metrics = [points(metrics.get(name), sign=False) for name in ("val/top1", "test/top1", "ood/mean/top1")]
        method = _named_method(record.cell, evidence)
        what = (row["cell"], row["task"], method, row["hyperparameters"], str(row["seed"]))
        caution = row.get("caution", "")
        rows.append((*what, seal.roles[record.id], *shown_metrics, caution))
        values = [[place_of(n, names), round(v, 4) if math.isfinite(v) else None] for n, v in metrics.items()]
        setting = place_of(_setting(record.cell.as_dict()), settings)
        maker = place_of(made_by(record.provenance), makers)
        details.append((row["command"], setting, maker, values, record.cell.parents))
    return {
        "columns": CELL_COLUMNS,
        "rows": rows,
        "details": details,
        "settings": list(settings),
        "makers": list(makers),
        "metrics": list(names),
    }


def _named_method(cell: Cell, evidence: Evidence) -> str:
    """The method of a cell; what was made of other cells names their method, as "WiSE-FT of FT"."""
    made_of = {evidence.records[p].cell.method for p in cell.parents if p in evidence.records}
    return label(f"{cell.method}({made_of.pop()})" if len(made_of) == 1 else cell.method, evidence.methods)


def place_of(value: Value, places: dict[Value, int]) -> int:
    """The place of a value among distinct ones; a new one is the last."""
    return places.setdefault(value, len(places))


def _setting(spec: Mapping[str, Any]) -> str:
    """The rest of a cell's specification in one line."""
    inner = {**spec["training"], **spec["reading"]}
    training = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in inner.items())
    model, weights = display_form(spec["model"], spec["pretrained"])
    return f"{model}, weights '{weights}', data {spec['data_version']}, {spec['precision']}; {training}" + "".join(
        f", {name.replace('_', ' ')} {spec[name]}" for name in PROTOCOL if name in spec
    )


def made_by(provenance: Mapping[str, Any]) -> str:
    """Versions and machine of a record in one line."""
    wanted = ("torch", "open_clip_torch", "ray")
    packages = ", ".join(f"{k} {v}" for k, v in provenance["packages"].items() if k in wanted)
    execution, attested = provenance["execution"], provenance["digests"].get("attested", "unknown")
    cpu = " with ".join(provenance.get("cpu", {}).values())  # earlier versions did not record it
    where = f"{execution['device']}, {execution['workers']} worker(s)" + (f" on {cpu}" if cpu else "")
    return (
        f"carft {provenance['carft']} (NUMERICS {provenance['numerics']}), Python {provenance['python']}, {packages}; "
        f"{where}; data attested: {attested}"
    )


#: numbers of a verdict or one of its parts: column -> heading
NUMBERS = {"effect": "points", "low": "low", "high": "high", "smallest_visible": "visible from"}


def provenance(sources: Sources, tables: Sequence[FormattedTable], cells: Mapping[str, Any]) -> dict[str, Any]:
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

    def __init__(self, sources: Sources, cells: Mapping[str, Any]) -> None:
        self.sources = sources
        self.places = {row[0]: k for k, row in enumerate(cells["rows"])}
        self.metrics = {name: k for k, name in enumerate(cells["metrics"])}
        self.formulas: dict[str, int] = {}
        self.sets: dict[tuple[int, ...], int] = {}

    def table(self, shown: FormattedTable) -> dict[str, Any]:
        """A table of the registry. columns: (formula, metric of the cells) of each, None for a column without."""
        card, rows = table_cards()[shown.name], rows_of(self.sources.table(shown.name))
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
            [("rule", verdict.asked.rule), ("verdict", verdict.reason), *_workings(part)] for verdict, part in shown
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
        card = table_cards()[name]
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
        places = [self.places[name] for name in names if name in self.places]
        return place_of(tuple(b - a for a, b in zip([0, *places], places, strict=False)), self.sets)


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
