"""Coordinates of the SVG drawings on the page: bars of intervals, and the plot of ID against OOD."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.figures import colour, label, marker
from reports.tables.rows import rows_of

#: share of 1 beyond which a bar is cut off and has an arrow, so that small effects stay visible
WIDEST = 0.10


@dataclass(frozen=True)
class Bar:
    """An interval as x positions in % of the width; zero is at 50. ``cut_*``: the bound lies outside the drawing."""

    low: float
    high: float
    effect: float
    margin: float | None
    cut_low: bool
    cut_high: bool


def span_of(bounds: Sequence[float | None]) -> float:
    """The half width of a scale that shows all bounds (shares of 1), at most ``WIDEST``."""
    largest = max((abs(b) for b in bounds if b is not None and math.isfinite(b)), default=0.01)
    return min(WIDEST, max(0.005, largest * 1.05))


def bar(effect: float, low: float, high: float, span: float, margin: float | None = None) -> Bar | None:
    """The bar of an interval; None when there is no interval."""
    if effect is None or low is None or not all(map(math.isfinite, (effect, low, high))):
        return None

    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / span)), 2)

    line = None if margin is None or margin == 0 else place(margin)
    return Bar(place(low), place(high), place(effect), line, low < -span, high > span)


#: a marker of matplotlib as an SVG path around (0, 0)
SHAPES = {
    "o": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
    "s": "M-3.6,-3.6h7.2v7.2h-7.2z",
    "^": "M0,-4.6L4.4,3.4H-4.4z",
    "v": "M0,4.6L4.4,-3.4H-4.4z",
    "D": "M0,-4.8L4.8,0L0,4.8L-4.8,0z",
}


@dataclass(frozen=True)
class Scatter:
    """ID against OOD as coordinates in a box of ``width`` x ``height``; ``words`` of a point is its description."""

    width: int
    height: int
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    points: Sequence[dict[str, Any]]
    methods: Sequence[dict[str, str]]
    tasks: Sequence[str]
    curves: Sequence[dict[str, Any]]
    diagonal: tuple[float, float, float, float]


@dataclass(frozen=True)
class _Scale:
    """A linear map from [low, high] to coordinates from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """(coordinate, text) of round numbers."""
        return [(self(value), f"{value:g}") for value in _ticks(self.low, self.high)]


def scatter(tasks: pd.DataFrame, curves: pd.DataFrame, width: int = 720, height: int = 460) -> Scatter | None:
    """The plot of ID test against mean OOD accuracy, one point per task and entry.

    None where no task has both a test set and a suite.
    """
    if tasks.empty:
        return None
    tasks = tasks[np.isfinite(tasks["test_top1"]) & np.isfinite(tasks["ood/mean"])]
    if tasks.empty:
        return None
    if not len(curves):
        curves = pd.DataFrame(columns=["task", "parent", "alpha", "test/top1", "ood/mean/top1"])
    x = _Scale(*_padded(100 * tasks["test_top1"], 100 * curves["test/top1"]), 52, width - 14)
    y = _Scale(*_padded(100 * tasks["ood/mean"], 100 * curves["ood/mean/top1"]), height - 42, 12)
    points = [_point(row, x, y) for row in rows_of(tasks)]
    lines = [
        {"task": task, "colour": colour(str(parent)), "path": _path(part, x, y)}
        for (task, parent), part in curves.groupby(["task", "parent"])
    ]
    names = list(dict.fromkeys(tasks["method"]))
    methods = [{"name": label(m), "method": m, "colour": colour(m), "shape": _shape(m)} for m in names]
    low, high = max(x.low, y.low), min(x.high, y.high)
    diagonal = (x(low), y(low), x(high), y(high)) if low < high else (0, 0, 0, 0)
    found = sorted(set(tasks["task"]))
    return Scatter(width, height, x.ticks(), y.ticks(), points, methods, found, lines, diagonal)


def _point(row: Mapping[str, Any], x: _Scale, y: _Scale) -> dict[str, Any]:
    return {
        "x": x(100 * row["test_top1"]),
        "y": y(100 * row["ood/mean"]),
        "task": row["task"],
        "method": row["method"],
        "colour": colour(row["method"]),
        "shape": _shape(row["method"]),
        "words": f"{row['task']}, {label(row['method'])}: ID {100 * row['test_top1']:.1f} % "
        f"({100 * row['low']:.1f} to {100 * row['high']:.1f}), OOD {100 * row['ood/mean']:.1f} %",
    }


def _path(part: pd.DataFrame, x: _Scale, y: _Scale) -> str:
    pairs = part[["test/top1", "ood/mean/top1"]].to_numpy()
    return "M" + "L".join(f"{x(100 * a)},{y(100 * b)}" for a, b in pairs)


def _shape(entry: str) -> str:
    return SHAPES.get(marker(entry), SHAPES["o"])


def _padded(*values: pd.Series) -> tuple[float, float]:
    joined = pd.concat([v.astype(float) for v in values if len(v)]).dropna()
    low, high = float(joined.min()), float(joined.max())
    room = max(1.0, 0.05 * (high - low))
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between low and high, four to nine of them."""
    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50) if (high - low) / s <= 9)
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
