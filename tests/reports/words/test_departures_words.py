"""Every kind of finding has its words."""

import string

from reports.evidence.findings import Finding, What
from reports.words.departures_words import WORDS, finding_words


def test_every_kind_of_finding_has_words() -> None:
    assert {*WORDS} == {*What}
    for what, words in WORDS.items():
        numbers = {name: 0 for _, name, _, _ in string.Formatter().parse(words) if name}
        assert "{" not in finding_words(Finding(what, numbers)), what


def test_lists_are_told_and_some_are_cut() -> None:
    seeds = Finding.of(What.SEEDS_MISSING, seeds=[1, 2, 3, 4, 5, 6])
    assert finding_words(seeds) == "its confirm cells lack the planned seeds 1, 2, 3, 4, 5, 6"
    numbered = Finding.of(What.NUMBERING, numbers=[0, 1, 3, 4, 5, 6])
    assert finding_words(numbered) == "its trials are numbered 0, 1, 3, 4, 5, ..."
    suites = Finding.of(What.OTHER_SUITES, planned=["hands"], now=[])
    assert finding_words(suites) == "its plan evaluates on hands, and the results are now evaluated on none"
    assert finding_words(Finding.of(What.OTHER_WINNER, winner="a", chosen=None)).endswith("validation selects none")
    versions = Finding.of(What.VERSIONS, count=2, versions={"a": 3, "b": 1})
    assert finding_words(versions) == "Cells ran with 2 versions of the code: a (3 cells), b (1 cells)."
