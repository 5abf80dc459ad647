"""The words of pictures."""

from __future__ import annotations

from reports.words.figures_words import picture_words, prompt_words


def test_a_prompt_is_shown_whole() -> None:
    assert prompt_words("a sketch of a {}.") == "a sketch of a [class]"
    assert prompt_words("a {} on a long table under a very bright lamp.").startswith("a [class] on")
    assert prompt_words("a cartoon {}., a photo of a {}.") == "a cartoon [class], a photo of a [class]"


def test_a_picture_is_told_by_class_context_and_task() -> None:
    assert picture_words("car", "a sketch of a {}.") == "car, a sketch of a [class]"
    assert picture_words("car", "", "icons-3/mix-1") == "car, from icons-3/mix-1"
