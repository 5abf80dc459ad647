"""Sentences of the page on several verdicts or tables."""

from __future__ import annotations

from dataclasses import replace

from reports.claims.claim import Direction, Verdict, VerdictNumber
from reports.claims.ledger import ledger
from reports.words.page_words import count_words


def verdict(claim: str, direction: Direction, scope: str) -> Verdict:
    return Verdict(ledger()[claim], scope, "miniature", direction=direction, number=VerdictNumber(n_searches=2))


def test_counts_name_claims_of_one_scope_and_none_of_several() -> None:
    found = [verdict("C1", "for", "one"), verdict("C3", "for", "one"), verdict("C1", "against", "two")]
    missing = replace(verdict("C6", "open", ""), missing="car_ft")
    assert count_words([*found[:2], missing]) == "Of 3 claims: 2 reproduced (C1, C3); 1 not run (C6)."
    assert count_words([*found, missing]) == "Of 4 questions: 2 reproduced; 1 contradicted; 1 not run."
    begun = replace(verdict("C1", "open", "two"), missing="car_ft")
    assert count_words([found[0], begun]) == "Of 2 questions: 1 reproduced; 1 not run."
