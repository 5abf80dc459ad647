"""Texts in the cells of tables, and sentences on what a table holds."""

from __future__ import annotations

from reports.words.tables_words import mean_words, range_words, registered_words


def test_numbers_are_told_with_what_they_are_of() -> None:
    assert range_words({"lr": [0.0003, 0.0003], "kl_weight": [1.5, 0.11]}) == "lr 0.0003, kl weight 0.11 to 1.5"
    assert mean_words([0.5, 0.25]) == "(0.5 + 0.25) / 2 = 0.375"
    assert registered_words(0.01, 1.0, "tasks") == "lr 0.01, KL weight 1; t interval over tasks; decides no claim"
