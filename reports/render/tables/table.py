"""What a table is, and the tables of a report.

To add a table, write a function that returns it below :func:`table` in a module of this package. The page, the CSV
files, ``report why`` and ``report verify`` find it by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from carft.config.registry import METHODS, MethodCard
from carft.core.errors import unknown
from carft.core.source import declared
from reports.judge.estimate import Estimate
from reports.judge.evidence import Evidence
from reports.judge.findings import Findings, ScopeFindings, cautions_of
from reports.judge.part import Part

Format = Literal["share", "points", "general"]
#: methods by name
Methods = Mapping[str, MethodCard]
#: column -> value
TableRow = Mapping[str, Any]
#: what a table is made of: its rows, or a frame of them
Rows = Iterable[TableRow] | pd.DataFrame


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain dictionaries, column -> value."""
    return table.rename(columns=str).to_dict("records")  # type: ignore[return-value]


class Tables(dict[str, pd.DataFrame]):
    """Tables by name, and the methods that they are about, which have the labels that people are shown."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], methods: Methods = METHODS) -> None:
        super().__init__(tables)
        self.methods = methods


def means_of(evidence: Evidence, cells: Sequence[str], columns: Mapping[str, Column]) -> dict[str, float]:
    """Column -> the mean of its metric over cells; NaN where one of them has none."""
    values: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        reached = evidence.metrics(cell)
        for name, column in columns.items():
            values[name].append(reached.get(column.metric.format(name), np.nan))
    return {name: float(np.mean(of_cells)) for name, of_cells in values.items()}


def cells_of(row: TableRow) -> list[str]:
    """Ids of the cells that a row rests on: those in its column ``cells`` or ``cell``."""
    return str(row.get("cells", row.get("cell", ""))).split()


def numbers_of(of: Part | Estimate, *names: str) -> dict[str, Any]:
    """These of the effect (a share of 1), its bounds, the smallest visible effect and the counts of an estimate.

    ``n_tasks`` is of a part alone.
    """
    estimate = of.estimate if isinstance(of, Part) else of
    low, high = estimate.interval()
    computed = {"low": low, "high": high, "smallest_visible": estimate.smallest_visible(), "floor": estimate.floor()}
    if isinstance(of, Part):
        computed["n_tasks"] = len(of.tasks)
    return {name: computed[name] if name in computed else getattr(estimate, name) for name in names}


INTERVAL = (
    "Effect -/+ q x SE. SE^2 = variance over seeds of the metric / seeds (of several searches: over the means of the "
    "searches / searches) + sum over strata of groups x variance over "
    "groups of the seed-averaged contributions, their interaction counted once; q = mean of the terms' t quantiles at "
    "97.5 %, weighted by their variances (docs/statistics.md)."
)
LEVEL_INTERVAL = (
    "Wilson's interval, which stays within 0 and 100 %, for value x (1 - value) / SE^2 images and the quantile q; at "
    "0 and 100 % for as many images as there are groups. SE and q are those of differences (docs/statistics.md)."
)
PAIRED = (
    "Mean over seeds of first minus second, paired by seed and image: sum over groups of the difference of their "
    "contributions. A pooled part is the unweighted mean over its tasks."
)


@dataclass(frozen=True)
class Column:
    """How a column is shown, and how its numbers are computed."""

    format: Format = "general"
    """A share of 1 in %, a share of 1 in signed points, or a plain number or text."""
    heading: str = ""
    """On the page; empty for the name of the column."""
    formula: str = ""
    metric: str = ""
    """The metric of the row's cells whose mean it is; ``{}`` stands for the name of the column."""
    on_page: bool = True
    """Whether the page shows the column; the CSV has it."""


share, points = partial(Column, "share"), partial(Column, "points")
#: the columns of an estimated difference
DIFFERENCE = {
    "effect": points(formula=PAIRED),
    "low": points(formula=INTERVAL),
    "high": points(formula=INTERVAL),
    "smallest_visible": share(formula="(q(97.5 %) + q(80 %)) x SE, with q and SE as in the interval."),
    "floor": Column(formula="The source with the largest share of the variance: groups, seeds or tasks."),
}
#: the same where nothing is said of each number
EFFECT = {"effect": points(), "low": points(), "high": points()}


@dataclass(frozen=True)
class TableCard:
    """One table: how it is made, what names its rows, and how its columns are shown."""

    name: str
    """Name of the table, and of its CSV file without ending."""
    title: str
    """Heading of the table on the page."""
    note: str
    """What the table holds. It is also the formula of every column where no column has a formula or metric."""
    make: Callable[[Findings], Rows]
    keys: Sequence[str]
    """Columns that name a row, for addresses such as ``tasks.icons-3/mix-7/car_ft.test_top1``."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    """Column, or pattern as of fnmatch, -> how it is shown; the first that matches holds."""
    unwritten: tuple[str, ...] = ()
    """Columns that the CSV leaves out: cells that another table lists, for ``report why``."""
    on_page: bool = True
    """Whether the page has the table; every table has a CSV file."""

    def frame(self, findings: Findings) -> pd.DataFrame:
        """The table, with a column ``caution`` where cells have caveats."""
        rows = self.make(findings)
        table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        if not len(table.columns):  # an empty file could not be read as a table
            return pd.DataFrame(columns=list(self.keys))
        if not findings.caveats:
            return table
        cautions = ["; ".join(cautions_of(findings.caveats, cells_of(row))) for row in rows_of(table)]
        return table.assign(caution=cautions) if any(cautions) else table

    def column(self, name: str) -> Column:
        """How a column is shown."""
        for pattern, column in self.columns.items():
            if fnmatchcase(name, pattern):
                return column
        return Column(on_page=name != "cells")

    def metric(self, name: str) -> str:
        """The metric of the row's cells whose mean a column is; empty for another column."""
        return self.column(name).metric.format(name)

    def formula(self, name: str) -> str:
        """How the numbers of a column are computed."""
        column = self.column(name)
        if column.formula:
            return column.formula
        if column.metric:
            return f"{self.metric(name)} of the cell; of several cells the mean."
        if any(other.formula or other.metric for other in self.columns.values()):
            return "Copied from the records; nothing was computed."
        return self.note

    def key(self, row: TableRow) -> str:
        """What names a row: its scope, where it has one, and its key columns, joined by a slash."""
        return _joined(row, dict.fromkeys(("scope", *self.keys)))

    def short_keys(self, rows: Sequence[TableRow]) -> list[str]:
        """What names each row: its key without the scope, or with it where another scope has such a row too."""
        without_scope = [name for name in self.keys if name != "scope"]
        short = [_joined(row, without_scope) for row in rows]
        counts = Counter(short)
        for place, name in enumerate(short):
            if counts[name] > 1:
                short[place] = self.key(rows[place])
        return short

    def addressed(self, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Row by its key, and by its short key where no other row has the same."""
        addressed = dict(zip(self.short_keys(rows), rows, strict=True))
        for row in rows:
            addressed[self.key(row)] = row
        return addressed


def _joined(row: TableRow, names: Iterable[str]) -> str:
    parts = []
    for name in names:
        if name in row and not (name == "scope" and row[name] == ""):
            parts.append(str(row[name]))
    return "/".join(parts)


def table(
    title: str, note: str, keys: Sequence[str], **settings: Any
) -> Callable[[Callable[[Findings], Rows]], TableCard]:
    """Declare the function below as a table of its name. settings: further fields of :class:`TableCard`."""
    return lambda make: TableCard(make.__name__, title, note, make, keys, **settings)


def scope_table(
    title: str, note: str, keys: Sequence[str], **settings: Any
) -> Callable[[Callable[[ScopeFindings], Iterable[TableRow]]], TableCard]:
    """Declare the function below, which yields the rows of one scope, as a table of its name.

    The columns ``scope`` and ``scale`` are added: in front where the scope is a key, else behind the keys.
    """

    def declare(of_scope: Callable[[ScopeFindings], Iterable[TableRow]]) -> TableCard:
        def make(findings: Findings) -> Iterator[TableRow]:
            for found in findings.scopes:
                for row in of_scope(found):
                    first = {} if "scope" in keys else {key: row[key] for key in keys}
                    yield {**first, **found.view.columns, **row}

        return TableCard(of_scope.__name__, title, note, make, keys, **settings)

    return declare


@cache
def table_cards() -> dict[str, TableCard]:
    """Name -> card, of every card in the modules of this package, in the order of the modules and in them."""
    return {card.name: card for card in declared("reports.render.tables", TableCard)}


def table_card(name: str) -> TableCard:
    """The card of a table; ``UserError`` with near misses for an unknown name."""
    if name not in table_cards():
        raise unknown("table", name, table_cards())
    return table_cards()[name]


def make_tables(findings: Findings) -> Tables:
    """All tables by name."""
    return Tables({name: card.frame(findings) for name, card in table_cards().items()}, findings.evidence.methods)
