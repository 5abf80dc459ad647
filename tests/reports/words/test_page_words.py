"""Sentences of the page on several verdicts or tables."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from carft.config.registry import METHODS
from reports.claims.claim import Decision, Direction, Verdict, VerdictNumber
from reports.claims.ledger import ledger
from reports.words.page_words import count_words, winners_again

TRIALS = pd.DataFrame(
    [
        ("icons-3/mix-1", "ft", 1, 0.70, False),
        ("icons-3/mix-1", "ft", 1, 0.80, True),
        ("icons-3/mix-1", "ft", 2, 0.84, True),
        ("icons-3/mix-6", "ft", 1, 0.60, True),
        ("icons-3/mix-1", "car_ft", 1, 0.90, True),
    ],
    columns=["task", "method", "search", "val/top1", "won"],
)


def test_winners_are_told_with_fresh_seeds_as_a_mean_over_tasks_where_something_was_chosen() -> None:
    rows = [("icons-3/mix-1", "ft", 0.80), ("icons-3/mix-6", "ft", 0.58), ("icons-3/mix-6", "zeroshot", 0.5)]
    tasks = pd.DataFrame(rows, columns=["task", "method", "val_top1"])

    words = winners_again(TRIALS, tasks, METHODS)
    assert "with fresh seeds: FT 71.0 and 69.0 (-2.0). " in words  # (82 + 60) / 2, (80 + 58) / 2
    assert "CAR-FT" not in words  # no fresh seeds yet
    one = TRIALS.drop_duplicates(["task", "method", "search"], keep="last")
    for trials, again in ((one, tasks), (pd.DataFrame(), tasks), (TRIALS, tasks[:0])):
        assert winners_again(trials, again, METHODS) == ""


def verdict(claim: str, direction: Direction, scope: str) -> Verdict:
    return Verdict(ledger()[claim], scope, "miniature", Decision(direction), VerdictNumber(n_searches=2))


def test_counts_name_claims_of_one_scope_and_none_of_several() -> None:
    found = [verdict("C1", "for", "one"), verdict("C3", "for", "one"), verdict("C1", "against", "two")]
    missing = replace(verdict("C6", "open", ""), missing="car_ft")
    assert count_words([*found[:2], missing]) == "Of 3 claims: 2 reproduced (C1, C3); 1 not run (C6)."
    assert count_words([*found, missing]) == "Of 4 questions: 2 reproduced; 1 contradicted; 1 not run."
    begun = replace(verdict("C1", "open", "two"), missing="car_ft")
    assert count_words([found[0], begun]) == "Of 2 questions: 1 reproduced; 1 not run."
