"""What the report says of null checks."""

from __future__ import annotations

import pytest

from reports.analysis.null_checks import NullCheck, NullProperty
from reports.words.null_checks_words import check_words


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (NullCheck(NullProperty.WEIGHT_0_IS_FT, 2), "2 pairs agree in every bit."),
        (NullCheck(NullProperty.WEIGHT_0_IS_FT, 2, 1), "1 of 2 pairs differ."),
        (NullCheck(NullProperty.STARTS_AT_0, 3), "All 3 confirm cells start at a divergence of 0."),
        (NullCheck(NullProperty.STARTS_AT_0, 3, 1), "1 of 3 cells start above 0."),
        (
            NullCheck(NullProperty.MOVES_AWAY, 3, 1, is_cut_short=True),
            "The training history of 1 cells is missing or cut short.",
        ),
        (
            NullCheck(NullProperty.IS_0_WITH_ONE_TEMPLATE),
            "No confirm cell of car_ft on a task with one template with a training history of more than one step.",
        ),
    ],
)
def test_a_check_says_why_it_passed_failed_or_cannot_be_made(check: NullCheck, words: str) -> None:
    assert check_words(check) == words
