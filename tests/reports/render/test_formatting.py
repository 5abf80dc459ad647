"""Sentences and bars of the page, from tables that are written down here."""

from __future__ import annotations

import json
import math

import pytest

from reports.claims.claim import VerdictNumber
from reports.claims.ledger import ledger
from reports.render.formatting import axis, bar, markdown, packed_json
from reports.render.page import Content, rendered
from reports.tables.table import Sources
from reports.words.page_words import others_words
from reports.words.verdict_words import reason_words
from tests.reports.render.conftest import changed
from tests.support.browsing import unpacked
from tests.support.helpers import TASK


def test_what_others_report_is_one_number_or_a_mean_and_a_range() -> None:
    claims = ledger()
    assert others_words(claims["C1"]) == ""
    assert others_words(claims["C3"]) == "+0.5 on ImageNet"
    assert others_words(claims["C4"]) == "mean +5.9 (+1.4 to +10.3 on 4 sets)"
    assert others_words(claims["C6"]) == "mean 78.5 (61.9 to 96.8 on 5 sets)"


def test_zero_is_in_the_middle_and_the_margin_a_tick_on_the_same_axis() -> None:
    made = bar(-0.01, -0.02, 0.0, 0.05, -0.005)
    assert made is not None
    assert (made.low, made.effect, made.high, made.margin, made.beyond) == (30, 40, 50, 45, [])
    cut = bar(-0.08, -0.2, 0.0, 0.05)
    assert cut is not None and (cut.low, cut.effect, cut.high, cut.beyond) == (0, 0, 50, ["left"])
    assert bar(0.0, float("nan"), float("nan"), 0.05) is None


def test_an_axis_is_the_least_round_one_that_holds_nine_of_ten_intervals() -> None:
    numbers = [VerdictNumber(low=-0.01 * k, high=0.002) for k in range(1, 10)]
    assert axis([*numbers, VerdictNumber(low=-0.6, high=0.0)]) == 0.1
    assert axis(numbers[:1]) == 0.01 and axis([VerdictNumber(), VerdictNumber(low=math.nan, high=0.1)]) == 0.01


@pytest.mark.parametrize("content", [[], [None], [{"é": [1.5]}, "a"], {"rows": [[1], []]}, "<b>"])
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


def test_the_table_of_studies_tells_what_each_search_was_given(sources: Sources) -> None:
    table = sources.table("studies").set_index(["task", "method"])
    row = table.loc[(TASK, "car_ft")]
    assert (row["n_trials"], row["n_confirm"], row["model"]) == (3, 2, "icons-resnet, icons-3, float32")
    assert "kl_weight" in row["ranges"] and "epochs" in row["training"] and row["holdout"] == "stable"
