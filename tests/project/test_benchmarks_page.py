"""The page of figures shows what was measured, and every figure that has a target."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import RESULTS, THEMES
from benchmarks.measuring import growth
from benchmarks.page import PAGE, filled, linked


def test_the_page_shows_the_figures_on_record_and_every_target() -> None:
    text, lines = PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text(encoding="utf-8"))
    assert filled(text, lines) == text
    assert {line["theme"] for line in lines} == set(THEMES)
    on_record = {f"{line['theme']}/{line['name']}": line["target"] for line in lines}
    assert {name for name, target in on_record.items() if target} <= linked(text) <= set(on_record)


@pytest.mark.parametrize(
    ("measured", "target", "met", "half_width", "shown"),
    [
        (1.5, None, None, None, "1.5"),
        (1.5, ">= 1", True, None, "1.5 (≥1)"),
        (1.5, "<= 1", False, None, "1.5 (missed: ≤1)"),
        (-0.001, None, None, 0.05, "0.00 ± 0.05"),
        (None, "<= 1", None, None, "not measured (≤1)"),
    ],
)
def test_a_figure_is_shown_with_its_interval_and_its_target(
    measured: float | None, target: str | None, met: bool | None, half_width: float | None, shown: str
) -> None:
    line = {"theme": "made", "name": "up (x)", "measured": measured, "target": target, "met": met}
    link = "](../benchmarks/results.json#made/up%20%28x%29)"
    assert filled(f"a [1{link} b", [{**line, "half_width": half_width}]) == f"a [{shown}{link} b"
    assert filled(f"a [1{link} b", []) == f"a [not measured{link} b"


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("fixed", [0.0, 5.0, 500.0])
def test_growth_is_that_of_what_grows_whatever_is_fixed(power: float, fixed: float) -> None:
    sizes = (500, 2000, 8000)
    assert growth(sizes, [fixed + size**power for size in sizes]) == pytest.approx(power, abs=1e-6)
