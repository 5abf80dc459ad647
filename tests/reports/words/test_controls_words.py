"""What the report says of forgetting and of what is given back."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from reports.analysis.contrasts import Part
from reports.analysis.forgetting import GivenBack
from reports.analysis.levels import ContextRecognition
from reports.stats.intervals import Component, Estimate, Ratio
from reports.words.controls_words import given_back_words
from reports.words.levels_words import recognition_words

Kind = Literal["between", "outside", "any", "none"]


def part(effect: float) -> Part:
    return Part("a part", Estimate(effect, (), 3, 40), (), ("task",))


@pytest.mark.parametrize(
    ("kind", "bounds"),
    [
        ("between", "12 to 61 %"),
        ("outside", "up to 12 % or from 61 % on, since the forgetting may be 0"),
        ("any", "any share, since the forgetting may be 0"),
        ("none", "no interval"),
    ],
)
def test_the_share_given_back_has_its_interval_in_words(kind: Kind, bounds: str) -> None:
    found = GivenBack(part(0.1), part(0.3), Ratio(0.35, 0.12, 0.61, kind))
    assert given_back_words(found) == f"35 % ({bounds})"


def test_nothing_is_given_back_where_nothing_was_forgotten() -> None:
    found = GivenBack(part(0.1), part(-0.3), Ratio(0.35, 0.12, 0.61, "between"))
    assert given_back_words(found) == "nothing was forgotten"


def test_recognition_stands_beside_its_interval_and_chance() -> None:
    level = Estimate(0.2, (Component(0.002, 40, "groups"),), 1, 41)
    assert recognition_words(ContextRecognition(level, 1 / 6)).startswith("zero-shot recognises 20.0 % of contexts (95")
    without = recognition_words(ContextRecognition(Estimate(0.2, (Component(math.nan, 0, "groups"),), 1, 1), 1 / 6))
    assert without == "zero-shot recognises 20.0 % of contexts (no interval; chance 16.7)"
