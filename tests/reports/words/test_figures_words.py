"""The text alternatives of figures and pictures."""

from __future__ import annotations

import math

import pandas as pd

from carft.config.registry import METHODS
from reports.words.figures_words import (
    confusion_sentences,
    differences_words,
    disagreement_words,
    equal_settings_words,
    image_words,
    levels_words,
    listing,
    search_words,
)


def test_levels_are_told_place_by_place_with_chance_where_there_is_one() -> None:
    rows = [("contexts", "ft", 0.5, 0.25), ("ID test", "zeroshot", 0.6, math.nan), ("ID test", "ft", 0.7, math.nan)]
    table = pd.DataFrame(rows, columns=["place", "method", "value", "chance"])
    assert levels_words(table) == (
        "Context recognition (chance 25.0%): FT 50.0%. In distribution: zero-shot 60.0%, FT 70.0%."
    )


def test_compared_methods_are_listed_first_and_missing_numbers_not_at_all() -> None:
    shares = pd.Series({"kd": 0.1, "ft": 0.2, "car_ft": math.nan, "zeroshot": 0.3})
    assert listing(shares) == "zero-shot 30.0%, FT 20.0%, KD 10.0%"


def test_intervals_and_bands_that_exclude_zero_are_counted() -> None:
    table = pd.DataFrame({"where": "ID test", "effect": [0.01, -0.03], "low": [0.005, -0.05], "high": [0.015, 0.01]})
    assert differences_words(table).endswith("above 0 on 1 of 2 tasks, below 0 on 0; the mean is -1.0 points.")
    lines = table.assign(contrast="A - B", band_low=table["low"], band_high=table["high"])
    assert equal_settings_words(lines) == "A - B, ID test: -3.0 to +1.0 points, 1 of 2 bands exclude 0."


def test_contexts_that_are_not_recognised_are_told_by_scope_where_there_are_several() -> None:
    one = pd.DataFrame({"scope": "one", "method": "ft", "known": "a {}.", "named": ["a {}.", "b {}."], "images": 3})
    words = "Of the images whose context is not recognised: FT calls 100 % of them “b [class]”."
    assert confusion_sentences(one) == [words]
    two = one[:1].assign(scope="two")
    assert confusion_sentences(pd.concat([one, two])) == [f"one: {words}", "two: Every context is named."]


def test_the_best_of_a_search_is_a_mean_over_tasks() -> None:
    rows = [("ft", "a", 0.5), ("ft", "a", 0.7), ("ft", "b", 0.3)]
    trials = pd.DataFrame(rows, columns=["method", "task", "val/top1"])
    assert search_words(trials, METHODS) == "3 trials. Best validation top-1, mean of tasks: FT 50.0%."


def test_a_picture_is_told_by_class_and_context() -> None:
    assert image_words("car", "a sketch of a {}.") == "car, a sketch of a [class]"
    assert disagreement_words("car", "", "icons-3/mix-1") == "car, from icons-3/mix-1"
    assert disagreement_words("car", "a {}.", "icons-3/mix-1") == "car as “a [class]”, from icons-3/mix-1"
