"""The levels beside the answer as text and bars: a figure of three panels cannot be read on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.figures.accuracy_figures import PANELS
from reports.figures.style import label
from reports.tables.rows import rows_of


@dataclass(frozen=True)
class Level:
    """Mean of one method, in percent, with its 95 % interval; without one ``low`` and ``high`` equal ``value``."""

    method: str
    value: float
    low: float
    high: float
    has_interval: bool

    @property
    def bar(self) -> tuple[float, float]:
        """Start and width of the interval on an axis from 0 to 100, at whose ends it is cut."""
        start, end = max(0.0, self.low), min(100.0, self.high)
        return round(start, 2), round(end - start, 2)


def levels_of(table: pd.DataFrame) -> list[tuple[str, Sequence[Level]]]:
    """(title of the place, its methods) of the table ``levels``, for its first scope; places without rows are left out.

    The titles are those of the panels of the figure.
    """
    rows = [row for row in rows_of(table) if row["scope"] == table["scope"].iloc[0]]
    places = [(title, [row for row in rows if row["place"] == place]) for place, title in PANELS.items()]
    return [
        (f"{title}{chance_words(of_place)}", [_level(row) for row in of_place])
        for title, of_place in places
        if of_place
    ]


def chance_words(rows: Sequence[dict[str, float | str]]) -> str:
    """``, chance 5.6``, in percent; empty for accuracies, of which no chance is given."""
    chance = 100 * float(rows[0]["chance"])
    return "" if math.isnan(chance) else f", chance {chance:.1f}"


def _level(row: dict[str, float | str]) -> Level:
    value, low, high = (100 * float(row[name]) for name in ("value", "low", "high"))
    known = math.isfinite(low)
    return Level(label(str(row["method"])), value, low if known else value, high if known else value, known)
