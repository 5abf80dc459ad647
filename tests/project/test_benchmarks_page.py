"""The page of figures shows what was measured, and every theme has its table there."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import RESULTS, THEMES
from benchmarks.measuring import growth
from benchmarks.page import PAGE, filled


def test_the_page_shows_the_figures_on_record_and_none_is_missing() -> None:
    text, lines = PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text(encoding="utf-8"))
    assert filled(text, lines) == text
    assert {line["theme"] for line in lines} == set(THEMES)


def test_every_theme_has_a_table_and_what_is_missed_is_said() -> None:
    text = PAGE.read_text(encoding="utf-8")
    line = {"name": "made up", "measured": 1.5, "target": "<= 1", "met": False, "n": 1, "unit": "x", "note": ""}
    facts = {"processor": "p", "cores": 2, "memory_gb": 1, "load_before": 0.0}
    for theme in THEMES:
        found = [{"theme": theme, **line, "date": "d", "machine": facts, "versions": {"python": "3"}}]
        assert filled(text, found).count("| made up | 1.5 x | <= 1 | **no** | 1 |  |") == 1


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("fixed", [0.0, 5.0, 500.0])
def test_growth_is_that_of_what_grows_whatever_is_fixed(power: float, fixed: float) -> None:
    sizes = (500, 2000, 8000)
    assert growth(sizes, [fixed + size**power for size in sizes]) == pytest.approx(power, abs=1e-6)


def test_costs_that_do_not_grow_have_no_exponent() -> None:
    assert growth((1, 2, 4), [1.0, 0.99, 1.01]) is None
