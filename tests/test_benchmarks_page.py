"""The page of figures shows what was measured, and every theme has its table there."""

from __future__ import annotations

import json

from benchmarks.__main__ import RESULTS, THEMES
from benchmarks.page import PAGE, filled


def test_the_page_shows_the_figures_on_record() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text, json.loads(RESULTS.read_text(encoding="utf-8"))) == text


def test_every_theme_has_a_table_and_what_is_missed_is_said() -> None:
    text = PAGE.read_text(encoding="utf-8")
    line = {"name": "made up", "measured": 1.5, "target": "<= 1", "met": False, "n": 1, "unit": "x", "note": ""}
    facts = {"processor": "p", "cores": 2, "memory_gb": 1, "load_before": 0.0}
    for theme in THEMES:
        found = {"date": "d", "machine": facts, "versions": {"python": "3"}, "results": [{"theme": theme, **line}]}
        assert filled(text, found).count("| made up | 1.5 x | <= 1 | **no** | 1 |  |") == 1
