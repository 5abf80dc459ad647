"""What a table is, what tables are made from, and the tables of a report.

To add a table, write a function that returns it below :func:`table` in a module of this package. The page, the CSV
files, ``report why`` and ``report verify`` find it by itself.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache, cached_property
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd

from carft.config.registry import METHODS, MethodCard
from carft.core.errors import unknown
from carft.core.source import declared
from reports.judge.claims.claim import Verdict, each_once
from reports.judge.claims.verdicts import verdicts
from reports.judge.contrasts import Part
from reports.judge.established import Asked, ask_controls
from reports.judge.intervals import Estimate
from reports.judge.null_checks import NullCheck, null_checks
from reports.read.caveats import SealedAccess, caveats
from reports.read.evidence import Entry, Evidence
from reports.render.words.answer_words import PageAnswer

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


@dataclass
class Sources:
    """What tables are made from, and the tables. Every part is computed once, when it is first asked for."""

    evidence: Evidence
    """The records of the results folder."""
    _tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The verdicts, each with its cautions: page, tables, terminal and JSON all show these."""
        found = []
        for verdict in verdicts(self.evidence, self.checks):
            found.append(replace(verdict, cautions=self.cautions(verdict.cells)))
        return found

    @cached_property
    def checks(self) -> list[NullCheck]:
        """The null checks."""
        return null_checks(self.evidence)

    @cached_property
    def controls(self) -> list[Asked]:
        """The controls in every scope."""
        return ask_controls(self.evidence)

    @cached_property
    def answer(self) -> PageAnswer:
        """The sentences at the top of the page, and how far to trust them."""
        return PageAnswer.of(self.evidence, self.verdicts, self.checks, self.controls)

    @cached_property
    def unsealings(self) -> SealedAccess:
        """Which cells were evaluated on sealed sets."""
        return SealedAccess(self.evidence)

    @cached_property
    def caveats(self) -> Mapping[str, tuple[str, ...]]:
        """Cell -> its caveats."""
        return caveats(self.evidence, self.unsealings)

    def cautions(self, cells: Iterable[str]) -> tuple[str, ...]:
        """What a reader must know of a number that rests on these cells; mostly empty."""
        known: list[str] = []
        for cell in cells:
            known += self.caveats.get(cell, ())
        return each_once(known)

    def table(self, name: str) -> pd.DataFrame:
        """A table by name, with a column ``caution`` where cells have caveats."""
        if name not in self._tables:
            if name == "problems":  # reading the evidence for the other tables finds problems
                for other in table_cards():
                    if other != name:
                        self.table(other)
            self._tables[name] = self._made(table_card(name))
        return self._tables[name]

    def _made(self, card: "TableCard") -> pd.DataFrame:
        rows = card.make(self)
        table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        if not len(table.columns):  # an empty file could not be read as a table
            return pd.DataFrame(columns=list(card.keys))
        if not self.caveats:
            return table
        cautions = ["; ".join(self.cautions(cells_of(row))) for row in rows_of(table)]
        return table.assign(caution=cautions) if any(cautions) else table

    def tables(self) -> Tables:
        """All tables."""
        return Tables({name: self.table(name) for name in table_cards()}, self.evidence.methods)


def measured(view: Evidence) -> Iterator[tuple[str, Entry, Sequence[str]]]:
    """(task, entry, its cells) of everything that was evaluated in a scope."""
    for task, entry in product(view.tasks, view.entries()):
        cells = view.cells(task, entry)
        if cells:
            yield task, entry, cells


def means_of(evidence: Evidence, cells: Sequence[str], metrics: Mapping[str, str]) -> dict[str, float]:
    """Column -> the mean of its metric over cells; NaN where one of them has none. ``{}`` stands for the column."""
    values: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        reached = evidence.metrics(cell)
        for column, metric in metrics.items():
            values[column].append(reached.get(metric.format(column), np.nan))
    return {column: float(np.mean(of_cells)) for column, of_cells in values.items()}


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


#: of a column that has no formula of its own
COPIED = "Copied from the records; nothing was computed."
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
DIFFERENCE_FORMULAS = {
    "effect": PAIRED,
    "low": INTERVAL,
    "high": INTERVAL,
    "smallest_visible": "(q(97.5 %) + q(80 %)) x SE, with q and SE as in the interval.",
    "floor": "The source with the largest share of the variance: groups, seeds or tasks.",
}


@dataclass(frozen=True)
class TableCard:
    """One table: how it is made, what names its rows, how its numbers are formatted, and which cells it rests on."""

    name: str
    """Name of the table, and of its CSV file without ending."""
    title: str
    """Heading of the table on the page."""
    note: str
    """What the table holds. It is also the formula of every column of a card without formulas and metrics."""
    make: Callable[[Sources], Rows]
    """Makes its rows; the docstring of the function below the card says what rows and columns are."""
    keys: Sequence[str]
    """Columns that name a row, for addresses such as ``tasks.icons-3/mix-7/car_ft.test_top1``."""
    shares: tuple[str, ...] = ()
    """Columns with shares of 1 that are formatted in %; patterns as of fnmatch."""
    points: tuple[str, ...] = ()
    """Columns with shares of 1 that are formatted as signed points; patterns as of fnmatch."""
    hidden: tuple[str, ...] = ("cells",)
    """Columns of the CSV that the page leaves out."""
    headings: Mapping[str, str] = field(default_factory=dict)
    """Column -> heading on the page, where it is not the name of the column."""
    formulas: Mapping[str, str] = field(default_factory=dict)
    """Column pattern -> how its numbers are computed."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Column pattern -> the metric of the row's cells whose mean it is; ``{}`` stands for the column."""
    unwritten: tuple[str, ...] = ()
    """Columns that the CSV leaves out: cells that another table lists, for ``report why``."""
    on_page: bool = True
    """Whether the page has the table; every table has a CSV file."""

    def format(self, column: str) -> Format:
        """How a column is formatted."""
        if _matching(column, self.shares):
            return "share"
        return "points" if _matching(column, self.points) else "general"

    def metric(self, column: str) -> str | None:
        """The metric of the row's cells whose mean a column is; None for another column."""
        pattern = _matching(column, self.metrics)
        return self.metrics[pattern].format(column) if pattern else None

    def formula(self, column: str) -> str:
        """How the numbers of a column are computed; ``COPIED`` where nothing is said of it."""
        pattern = _matching(column, self.formulas)
        if pattern:
            return self.formulas[pattern]
        metric = self.metric(column)
        if metric:
            return f"{metric} of the cell; of several cells the mean."
        return COPIED if self.formulas or self.metrics else self.note

    def key(self, row: TableRow) -> str:
        """What names a row: its scope, where it has one, and its key columns, joined by a slash."""
        return self._key(row, dict.fromkeys(("scope", *self.keys)))

    def short_keys(self, rows: Sequence[TableRow]) -> list[str]:
        """What names each row: its key without the scope, or with it where another scope has such a row too."""
        without_scope = [name for name in self.keys if name != "scope"]
        short = [self._key(row, without_scope) for row in rows]
        counts = Counter(short)
        for place, name in enumerate(short):
            if counts[name] > 1:
                short[place] = self.key(rows[place])
        return short

    def _key(self, row: TableRow, names: Iterable[str]) -> str:
        parts = []
        for name in names:
            if name in row and not (name == "scope" and row[name] == ""):
                parts.append(str(row[name]))
        return "/".join(parts)

    def addressed(self, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Row by its key, and by its short key where no other row has the same."""
        addressed = dict(zip(self.short_keys(rows), rows, strict=True))
        for row in rows:
            addressed[self.key(row)] = row
        return addressed


def _matching(column: str, patterns: Iterable[str]) -> str:
    """The first of the patterns that a column matches; empty for none."""
    for pattern in patterns:
        if fnmatchcase(column, pattern):
            return pattern
    return ""


def table(
    title: str, note: str, keys: Sequence[str], **settings: Any
) -> Callable[[Callable[[Sources], Rows]], TableCard]:
    """Declare the function below as a table of its name. settings: further fields of :class:`TableCard`."""
    return lambda make: TableCard(make.__name__, title, note, make, keys, **settings)


def scope_table(
    title: str, note: str, keys: Sequence[str], **settings: Any
) -> Callable[[Callable[[Evidence], Iterable[TableRow]]], TableCard]:
    """Declare the function below, which yields the rows of one scope, as a table of its name.

    The columns ``scope`` and ``scale`` are added: in front where the scope is a key, else behind the keys.
    """

    def declare(of_scope: Callable[[Evidence], Iterable[TableRow]]) -> TableCard:
        def make(sources: Sources) -> Iterator[TableRow]:
            for view in sources.evidence.views():
                for row in of_scope(view):
                    first = {} if "scope" in keys else {key: row[key] for key in keys}
                    yield {**first, **view.columns, **row}

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
