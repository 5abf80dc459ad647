"""Coordinates of the bars of intervals on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """An interval as x positions in % of the width; zero is at 50."""

    low: float
    high: float
    effect: float
    margin: float | None


def span_of(bounds: Sequence[float | None]) -> float:
    """The half width of a scale that shows all bounds (shares of 1)."""
    largest = max((abs(b) for b in bounds if b is not None and math.isfinite(b)), default=0.01)
    return max(0.005, largest * 1.05)


def bar(effect: float, low: float, high: float, span: float, margin: float | None = None) -> Bar | None:
    """The bar of an interval; None when there is no interval."""
    if effect is None or low is None or not all(map(math.isfinite, (effect, low, high))):
        return None

    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / span)), 2)

    line = None if margin is None or margin == 0 else place(margin)
    return Bar(place(low), place(high), place(effect), line)
