"""The card of a table, and the formulas of its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import pandas as pd

from reports.tables.row_cells import Row, named_cells
from reports.tables.sources import Sources

Format = Literal["share", "points", "general"]


@dataclass(frozen=True)
class Formula:
    """How a number is computed."""

    words: str
    """The text."""
    metric: str | None = None
    """The metric of the cells whose mean the number is; None for another number."""


#: of a column that has no formula of its own
COPIED = Formula("Copied from the records; nothing was computed.")
MEAN = "Mean over the cells of their"
INTERVAL = (
    "Effect -/+ q x SE. SE^2 = variance over seeds of the metric / seeds (of several searches: over the means of the "
    "searches / searches) + sum over strata of groups x variance over "
    "groups of the seed-averaged contributions, their interaction counted once; q = mean of the terms' t quantiles at "
    "97.5 %, weighted by their variances (docs/statistics.md)."
)
LEVEL_INTERVAL = (
    "Wilson's interval, which stays within 0 and 100 %, for value x (1 - value) / SE^2 images and the quantile q; at "
    "0 and 100 % for as many images as there are groups. SE and q are those of differences: SE^2 = variance over "
    "seeds / seeds + sum over strata of groups x variance over groups of the seed-averaged contributions."
)
INTERVAL_FORMULAS = {
    "low": Formula(INTERVAL),
    "high": Formula(INTERVAL),
    "smallest_visible": Formula("(q(97.5 %) + q(80 %)) x SE, with q and SE as in the interval."),
    "floor": Formula("The source with the largest share of the variance: groups, seeds or tasks."),
}
LEVEL_FORMULAS = {**INTERVAL_FORMULAS, "low": Formula(LEVEL_INTERVAL), "high": Formula(LEVEL_INTERVAL)}
PAIRED = Formula(
    "Mean over seeds of first minus second, paired by seed and image: sum over groups of the difference of their "
    "contributions. A pooled part is the unweighted mean over its tasks."
)


@dataclass(frozen=True)
class TableCard:
    """One table: how it is made, what names its rows, how its numbers are formatted, and which cells it rests on."""

    title: str
    """Heading of the table on the page."""
    note: str
    """What the table holds. It is also the formula of every column of a card without formulas."""
    make: Callable[[Sources], pd.DataFrame]
    """The table as a data frame."""
    keys: tuple[str, ...]
    """Columns that name a row, for addresses such as ``tasks.icons/transport/car_ft.test_top1``."""
    shares: tuple[str, ...] = ()
    """Columns with shares of 1 that are formatted in %; patterns as of fnmatch."""
    points: tuple[str, ...] = ()
    """Columns with shares of 1 that are formatted as signed points; patterns as of fnmatch."""
    hidden: tuple[str, ...] = ("cells",)
    """Columns of the CSV that the page leaves out."""
    headings: Mapping[str, str] = field(default_factory=dict)
    """Column -> heading on the page, where it is not the name of the column."""
    formulas: Mapping[str, Formula] = field(default_factory=dict)
    """Column pattern -> formula."""
    cells: Callable[[Sources, Row], Sequence[str]] = named_cells
    """Ids of the cells that a row rests on."""
    on_page: bool = True
    """Whether the page has the table; every table has a CSV file."""

    def format(self, column: str) -> Format:
        """How a column is formatted."""
        if any(fnmatchcase(column, pattern) for pattern in self.shares):
            return "share"
        return "points" if any(fnmatchcase(column, pattern) for pattern in self.points) else "general"

    def formula(self, column: str) -> Formula | None:
        """The formula of a column; None where the card has formulas, but none for this column."""
        if not self.formulas:
            return Formula(self.note)
        found = next((f for pattern, f in self.formulas.items() if fnmatchcase(column, pattern)), None)
        if found is None or found.metric is None or "*" not in found.metric:
            return found
        return Formula(found.words, found.metric.replace("*", column.split("/")[-1]))

    def key(self, row: Row) -> str:
        """What names a row: its key columns, joined by a slash; first the scope, where the table has several."""
        names = [k for k in dict.fromkeys(("scope", *self.keys)) if k in row]
        return "/".join(str(row[k]) for k in names if not (k == "scope" and row[k] == ""))

    def short_keys(self, rows: Sequence[Row]) -> list[str]:
        """What names each row: its key without the scope, or with it where another scope has such a row too."""
        short = ["/".join(str(row[k]) for k in self.keys if k in row and k != "scope") for row in rows]
        counts = Counter(short)
        return [name if counts[name] == 1 else self.key(row) for name, row in zip(short, rows, strict=True)]

    def addressed(self, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Row by its key, and by its short key where no other row has the same."""
        return dict(zip(self.short_keys(rows), rows, strict=True)) | {self.key(row): row for row in rows}
