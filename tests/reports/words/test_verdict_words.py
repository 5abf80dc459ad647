"""What is said of verdicts, from facts that are written down here."""

from __future__ import annotations

from dataclasses import replace

from reports.analysis.contrasts import Part
from reports.analysis.flaws import OneSidedSeeds
from reports.claims.claim import Decision, Lack, Missing, Verdict, VerdictNumber
from reports.claims.ledger import ledger
from reports.claims.rules import Outcome
from reports.stats.intervals import Component, Estimate
from reports.words.verdict_words import listed, missing_words, reason_words, shown_word

HIGH = Part("CAR-FT - FT", Estimate(0.1, (Component(1e-4, 10_000, "groups"),), 3, 60), (), ("hands",), place="hands")


def test_what_is_missing_is_half_a_sentence_for_every_lack() -> None:
    assert listed(("ft",)) == "ft" and listed(("zeroshot", "ft", "car_ft")) == "zeroshot, ft and car_ft"
    for lack in Lack:
        assert missing_words(Missing(lack, ("test",), ("hands",), 5, 3))
    tasks = Missing(Lack.LARGER_FAMILY, ("ft", "car_ft"), least=5, count=3)
    assert missing_words(tasks) == (
        "ft and car_ft on at least 5 tasks of one family, and this one has 3: first add tasks to it"
    )
    left_out = Missing(Lack.SUITES, ("ft", "car_ft"), ("hands",))
    assert missing_words(left_out) == "ft and car_ft on hands, which --suites left out"


def test_a_reason_has_both_bounds_of_an_open_verdict_and_what_a_flag_holds_back() -> None:
    asked = ledger()["C3"]
    number = VerdictNumber(low=-0.004, high=0.0125, n_searches=2)
    sure = Verdict(asked, "", "miniature", Decision("for", (Outcome("for", (HIGH,)),)), number)
    assert reason_words(sure) == "The whole interval lies on the claim's side of the margin."
    doubted = replace(sure, damage=(OneSidedSeeds("icons-3/all"),))
    assert (doubted.verdict, shown_word(doubted)) == ("inconclusive", "inconclusive (in doubt)")
    assert "The intervals alone would say: reproduced." in reason_words(doubted)
    open_one = replace(sure, decision=Decision("open", (Outcome("open", (HIGH,), (), (HIGH,)),)))
    assert reason_words(open_one).startswith("It is at least -0.40 and at most +1.25 points. The interval reaches")
    missing = Verdict(asked, "", "miniature", missing=Missing(Lack.CELLS, ("ft", "car_ft"), command="python cli.py"))
    assert reason_words(missing) == "Missing: ft and car_ft. Run: python cli.py"


def test_the_margin_stands_in_the_shown_word_alone() -> None:
    same = Decision("no difference", equivalence=0.005)
    verdict = Verdict(ledger()["C3"], "", "miniature", same, VerdictNumber(n_searches=1))
    assert verdict.verdict == "suggested no difference"
    assert shown_word(verdict) == "suggested no difference above 0.5"
