"""What is said of verdicts, from facts that are written down here."""

from __future__ import annotations

from dataclasses import replace

from reports.judge.claims.claim import Verdict, VerdictNumber
from reports.judge.claims.ledger import ledger
from reports.judge.claims.rules import direction_of
from reports.judge.estimate import Component, Estimate
from reports.judge.part import Part
from reports.note import Note
from reports.render.words.verdict_words import reason_words, shown_word

HIGH = Part("CAR-FT - FT", Estimate(0.1, (Component(1e-4, 10_000, "groups"),), 3, 60), (), ("hands",), place="hands")


def test_a_reason_has_both_bounds_of_an_open_verdict_and_what_a_flag_holds_back() -> None:
    asked = ledger()["C3"]
    number = VerdictNumber(low=-0.004, high=0.0125, n_searches=2)
    reasons = (direction_of([HIGH])[1],)
    sure = Verdict(asked, "", "miniature", direction="for", reasons=reasons, number=number)
    assert reason_words(sure) == "The whole interval lies on the claim's side of the margin."
    doubted = replace(sure, damage=(Note("seeds", "icons-3/all has seeds that only one side was run with"),))
    assert (doubted.verdict, shown_word(doubted)) == ("inconclusive", "inconclusive (in doubt)")
    assert "The intervals alone would say: reproduced." in reason_words(doubted)
    open_one = replace(sure, direction="open", reasons=("The interval reaches the margin.",))
    assert reason_words(open_one).startswith("It is at least -0.40 and at most +1.25 points. The interval reaches")
    missing = Verdict(asked, "", "miniature", missing="ft and car_ft", command="python cli.py")
    assert reason_words(missing) == "Missing: ft and car_ft. Run: python cli.py"


def test_the_margin_stands_in_the_shown_word_alone() -> None:
    verdict = replace(Verdict(ledger()["C3"], "", "miniature"), direction="no difference", equivalence=0.005)
    verdict = replace(verdict, number=VerdictNumber(n_searches=1))
    assert verdict.verdict == "suggested no difference"
    assert shown_word(verdict) == "suggested no difference above 0.5"
