"""Colours and labels of the figures; a figure that is added by one file."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from matplotlib.colors import to_rgb

import reports.figures
from carft.config.registry import METHODS
from reports.figures.figure import draw_figures, figures
from reports.figures.style import SPARE_STYLES, STYLES, Tables, colour, prompt_words
from tests.project.test_docs import python_blocks
from tests.support.helpers import ROOT


def contrast_with_white(name: str) -> float:
    """WCAG's contrast ratio of a colour on white paper."""
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(name)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_every_colour_is_seen_on_paper() -> None:
    drawn = {colour(name) for name in (*METHODS, *STYLES)}
    for name in drawn | {spare for spare, _ in SPARE_STYLES}:
        assert contrast_with_white(name) >= 3, name


def test_a_prompt_is_shown_whole() -> None:
    assert prompt_words("a sketch of a {}.") == "a sketch of a [class]"
    assert prompt_words("a {} on a long table under a very bright lamp.").startswith("a [class] on")
    assert prompt_words("a cartoon {}., a photo of a {}.") == "a cartoon [class], a photo of a [class]"


def test_a_file_with_a_function_is_all_that_a_figure_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "widths.py").write_text(
        next(block for block in python_blocks(ROOT / "docs" / "extending.md") if "@report_figure(" in block)
    )
    monkeypatch.setattr(reports.figures, "__path__", [*reports.figures.__path__, str(tmp_path)])
    figures.cache_clear()
    try:
        assert next(iter(figures())) == "answer" and figures()["widths"].section == "accuracy"
        table = pd.DataFrame({"scope": ["icons"] * 2, "scale": "miniature", "low": [0.0, 0.1], "high": [0.1, 0.3]})
        with patch.dict(figures(), {"widths": figures()["widths"]}, clear=True):
            (drawn,) = draw_figures(Tables({"tasks": table, "differences": table}), "miniature", tmp_path)
    finally:
        figures.cache_clear()
        sys.modules.pop("reports.figures.widths", None)
    assert drawn.name == "widths" and drawn.alt == "The median half width is 7.5 points."
    assert "half width (points)" in drawn.svg.read_text(encoding="utf-8") and drawn.png.is_file()
