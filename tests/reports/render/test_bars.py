"""Axes of intervals on the page."""

from __future__ import annotations

import pytest

from reports.render.formatting import bar, span_of


@pytest.mark.parametrize(
    ("bounds", "points"),
    [
        ((), 2),
        ((0.0, 0.001), 2),  # noise is not magnified
        ((-0.0195, 0.01), 2),
        ((-0.0199, None), 5),  # a dot at the end is whole
        ((-0.961, 0.3), 100),
        ((1.3,), 200),
        ((7.0, float("nan")), 1000),
    ],
)
def test_an_axis_has_the_least_step_that_holds_all_bounds(bounds: tuple[float | None, ...], points: float) -> None:
    assert span_of(bounds) == points / 100


def test_zero_is_in_the_middle_and_the_margin_a_tick_on_the_same_axis() -> None:
    made = bar(-0.01, -0.02, 0.0, 0.05, -0.005)
    assert made is not None
    assert (made.low, made.effect, made.high, made.margin) == (30, 40, 50, 45)
    assert bar(0.0, float("nan"), float("nan"), 0.05) is None
