"""What the report says of the cells' makers, and of what could not be used."""

from __future__ import annotations

import pytest

from carft import NUMERICS
from carft.core.errors import UserError
from reports.evidence.note import Note
from reports.evidence.results import Problem, ProblemKind
from reports.words.provenance_words import (
    PROBLEMS,
    problem_words,
    warning_words,
    without_picture,
)


def test_every_kind_of_problem_has_words() -> None:
    assert {*PROBLEMS, ProblemKind.FAILED_CELL, ProblemKind.DEPARTED} == {*ProblemKind}


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Problem(ProblemKind.CORRUPT_RECORD, "abc", {"error": "It is cut."}), "It is cut."),
        (
            Problem(ProblemKind.OTHER_NUMERICS, "NUMERICS 1", {"count": 2, "numerics": 1}),
            f"2 cells were computed under NUMERICS 1; this report holds NUMERICS {NUMERICS} only.",
        ),
        (
            Problem(ProblemKind.UNKNOWN_METHOD, "own"),
            "The studies of own are left out: no method here has this name.",
        ),
        (
            Problem(ProblemKind.DEPARTED, "ft on a", {"notes": [Note("seeds", "it lacks seeds")] * 2}),
            "it lacks seeds; it lacks seeds",
        ),
    ],
)
def test_a_problem_says_why_something_cannot_be_used(problem: Problem, words: str) -> None:
    assert problem_words(problem) == words
    assert warning_words(problem) == f"{problem.what}: {problem.where}: {words}"


def test_images_without_a_picture_are_told_where_something_is_private_or_broken() -> None:
    assert without_picture(None, {}) == []
    assert without_picture(0, {"a": UserError("No data.")}) == [
        "0 private images have no picture.",
        "a has images without a picture. No data.",
    ]
