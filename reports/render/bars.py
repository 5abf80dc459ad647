"""Coordinates of the bars of intervals on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

#: half widths of an axis in points; tenfold beyond the last. The least one keeps an axis from magnifying noise.
STEPS = (2, 5, 10, 20, 50, 100)
#: an axis is so much longer than its longest bound, so that a dot at its end is whole
ROOM = 1.02


@dataclass(frozen=True)
class Bar:
    """An interval as x positions in % of the width; zero is at 50."""

    low: float
    high: float
    effect: float
    margin: float | None


def span_of(bounds: Sequence[float | None]) -> float:
    """The half width of the axis around zero that shows all bounds: the least of ``STEPS`` that does. Shares of 1."""
    largest = 100 * ROOM * max((abs(b) for b in bounds if b is not None and math.isfinite(b)), default=0.0)
    if not math.isfinite(largest):
        return STEPS[-1] / 100
    further = (step * 10**power for power in count() for step in STEPS)
    return next(step for step in further if step >= largest) / 100


def bar(effect: float, low: float, high: float, span: float, margin: float | None = None) -> Bar | None:
    """The bar of an interval; None when there is no interval."""
    if effect is None or low is None or not all(map(math.isfinite, (effect, low, high))):
        return None

    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / span)), 2)

    line = None if margin is None or margin == 0 else place(margin)
    return Bar(place(low), place(high), place(effect), line)
