"""Sentences and bars of the page, from tables that are written down here."""

from __future__ import annotations

import json
import math

import pytest

from reports.judge.claims.claim import VerdictNumber
from reports.render.formatting import axis, bar, markdown, packed_json
from reports.render.page import Content, rendered
from reports.render.words.verdict_words import reason_words
from tests.reports.render.conftest import changed
from tests.support.browsing import unpacked


def test_zero_is_in_the_middle_and_what_is_beyond_the_axis_at_its_end() -> None:
    made = bar(-0.02, 0.0, 0.05, effect=-0.01, margin=-0.005)
    assert made == {"low": 30, "high": 50, "effect": 40, "margin": 45}
    assert bar(-0.2, 0.0, 0.05, margin=None) == {"low": 0, "high": 50}
    assert bar(math.nan, math.nan, 0.05) == {}


def test_an_axis_is_the_least_round_one_that_holds_every_interval_inside_the_whisker() -> None:
    numbers = [VerdictNumber(low=-0.01 * k, high=0.002) for k in range(1, 10)]
    outliers = [VerdictNumber(low=-0.6, high=0.0), VerdictNumber(low=0.1, high=0.9)]
    assert axis([*numbers, *outliers]) == 0.1
    narrow = [VerdictNumber(low=-reach / 100, high=0.001) for reach in (0.3, 0.7, 0.9, 1.1, 1.5, 1.6, 2.4, 3.4)]
    assert axis([*narrow, *outliers]) == 0.05
    assert axis(numbers[:1]) == 0.01 and axis([VerdictNumber(), VerdictNumber(low=math.nan, high=0.1)]) == 0.01
    assert axis(outliers) == 1


@pytest.mark.parametrize("content", [[], [{"é": [1.5, None]}, "<b>"]])
def test_what_is_packed_is_unpacked_as_its_json(content: object) -> None:
    assert json.loads(unpacked(f'"{packed_json(content)}"')) == content
    with pytest.raises(ValueError, match="not JSON compliant"):
        packed_json([content, float("nan")])


@pytest.mark.usefixtures("few_figures")
def test_report_md_escapes_names_says_a_reason_once_and_has_the_glossary(content: Content) -> None:
    problem = {"what": "nine <tasks>", "where": "a|b", "words": "*c*"}
    text = rendered("report.md", changed(content, problems=[problem]))
    assert "- nine &lt;tasks&gt; (a\\|b): \\*c\\*\n" in text
    rows = {
        r.split()[1]: r
        for r in text.partition("## Claims")[2].partition("\n## ")[0].splitlines()
        if r.startswith("| C")
    }
    reasons = {v.claim: reason_words(v) for v in content.verdicts if v.verdict == "inconclusive"}
    assert reasons and all(rows[claim].count(markdown(reason)) == 1 for claim, reason in reasons.items())
    assert "## Glossary\n\n" in text and "- **zero-shot:** The pretrained model" in text
