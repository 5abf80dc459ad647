"""Texts in the cells of tables, and sentences on what a table holds."""

from __future__ import annotations

from reports.analysis.disagreements import DisagreementCount
from reports.words.tables_words import count_sentences, mean_words, range_words, registered_words


def test_disagreements_are_told_by_scope_where_there_are_several() -> None:
    first = DisagreementCount("one", "class", 60, 75, 1940)
    words = "lass: CAR-FT right and FT wrong 60, the reverse 75, of 1,940 images"
    assert count_sentences([first]) == [f"C{words}."]
    contexts = DisagreementCount("two", "context", 1, 2, 3)
    assert count_sentences([first, contexts]) == [
        f"one, c{words}.",
        "two, context: CAR-FT right and FT wrong 1, the reverse 2, of 3 images.",
    ]
    assert count_sentences([]) == []


def test_numbers_are_told_with_what_they_are_of() -> None:
    assert range_words({"lr": [0.0003, 0.0003], "kl_weight": [1.5, 0.11]}) == "lr 0.0003, kl weight 0.11 to 1.5"
    assert mean_words([0.5, 0.25]) == "(0.5 + 0.25) / 2 = 0.375"
    assert registered_words(0.01, 1.0, "tasks") == "lr 0.01, KL weight 1; t interval over tasks; decides no claim"
