"""Colours and labels of the figures."""

from __future__ import annotations

from matplotlib.colors import to_rgb

from carft.spec.registry import METHODS
from reports.evidence.evidence import table_entries
from reports.figures.style import SPARE_STYLES, colour, prompt_words


def contrast_with_white(name: str) -> float:
    """WCAG's contrast ratio of a colour on white paper."""
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(name)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_every_colour_is_seen_on_paper() -> None:
    drawn = {colour(entry.label) for entry in table_entries()} | {colour(name) for name in METHODS}
    for name in drawn | {spare for spare, _ in SPARE_STYLES}:
        assert contrast_with_white(name) >= 3, name


def test_a_prompt_is_shown_whole() -> None:
    assert prompt_words("a sketch of a {}.") == "a sketch of a [class]"
    assert prompt_words("a {} on a long table under a very bright lamp.").startswith("a [class] on")
    assert prompt_words("a cartoon {}., a photo of a {}.") == "a cartoon [class], a photo of a [class]"
