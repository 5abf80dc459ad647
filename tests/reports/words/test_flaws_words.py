"""What is said of evidence that is missing, and of sides that differ: one sentence for each kind of fact."""

from dataclasses import replace

import pytest

from reports.analysis.flaws import (
    CellsGone,
    Flaw,
    NoInterval,
    NotByProtocol,
    OneSidedSeeds,
    SameOnTasks,
    SearchesMissing,
    TaskMissing,
    TasksMissing,
    TasksUnlike,
    TrialsGone,
)
from reports.analysis.null_checks import NullCheck, NullProperty
from reports.claims.ledger.c6_domainbed import FewSeeds
from reports.claims.ledger.c11_readings import ReadingsLost
from reports.claims.verdicts import NullCheckFailed, RangesTooNarrow
from reports.evidence.note import Note
from reports.evidence.protocol import unequal_trials
from reports.words.flaws_words import flaw_words, inequality_words
from reports.words.verdict_words import doubt_words

FLAWS: tuple[tuple[Flaw, str], ...] = (
    (TasksMissing(("body",), 9), "1 of 9 tasks is missing (body)"),
    (TasksMissing(("a", "b", "c", "d"), 9), "4 of 9 tasks are missing (a, b, c, ...)"),
    (TaskMissing("pacs/photo"), "pacs/photo is missing"),
    (NoInterval("body"), "body has no interval"),
    (NoInterval("body", True), "body has no interval: it has one seed"),
    (
        NoInterval("body", True, (("test", "ood/scan"),), True, "file stem"),
        "body has no interval: it has one seed, and one file stem in test and ood/scan alone",
    ),
    (OneSidedSeeds("body"), "body has seeds that only one side was run with"),
    (TrialsGone("body", "ft"), "body: no trial of ft is left"),
    (CellsGone("body", "ft", ("a",)), "body: cell a of ft not finished or not readable"),
    (CellsGone("body", "ft", ("a", "b")), "body: cells a, b of ft not finished or not readable"),
    (CellsGone("body", "soup(ft)", soups=2), "body: the soups of 2 searches of soup(ft) not finished or not readable"),
    (
        SearchesMissing("ft", (("tools", 3), ("tools", 1))),
        "2 planned searches of ft are missing (tools, tools, search 3)",
    ),
    (NotByProtocol(Note("seeds", "body, ft: it lacks seeds")), "body, ft: it lacks seeds"),
    (
        TasksUnlike("ft", SameOnTasks.CONFIRM_SEEDS, (((6, 6), ("a", "b")), ((10,), ("c",)))),
        "the tasks have different numbers of confirm seeds of ft: 10 on c, 6 + 6 on a, b",
    ),
    (
        TasksUnlike("ft", SameOnTasks.RANGES, (((), ("a",)), (((("lr", 1e-5, 1e-3),),), ("c",)))),
        "the tasks have different search ranges of ft: learning rate 1e-05 to 0.001 on c, none on a",
    ),
    (FewSeeds(), "fewer than 3 seeds"),
    (
        RangesTooNarrow((("car_ft", "lr", 3, 9), ("ft", "lr", 4, 9))),
        "the search range is too narrow: winners lie at the edge for lr of car_ft (3 of 9), lr of ft (4 of 9)",
    ),
    (ReadingsLost(("default", "crop 0.5")), "no estimate under default; crop 0.5"),
)


@pytest.mark.parametrize(("flaw", "words"), FLAWS, ids=lambda value: type(value).__name__)
def test_every_flaw_has_its_words(flaw: Flaw, words: str) -> None:
    assert flaw_words(flaw) == words


def test_what_two_sides_differ_in_is_told_with_the_first_few_tasks() -> None:
    found = Note("data", "the data (ft a against car_ft b)")
    assert inequality_words(found) == "the data (ft a against car_ft b)"
    assert inequality_words(replace(found, tasks=("a", "b", "c", "d"))) == f"{found.text} on a, b, c, ..."


def test_trials_of_two_sides_are_told_search_by_search() -> None:
    (counted,) = unequal_trials([(0, 1, 2), (0, 1)], [])
    assert counted.text == "the searches (3 + 2 against 0 finished trials)"
    (numbered,) = unequal_trials([(0, 1), (2,)], [(0, 2), (2,)])
    assert numbered.text == "the searches (trials 0, 1 + 2 against 0, 2 + 2 ended)"
    assert not list(unequal_trials([(0, 1)], [(0, 1)]))


def test_a_doubt_is_the_first_flaw_without_brackets_and_the_number_of_others() -> None:
    failed = NullCheckFailed((NullCheck(NullProperty.STARTS_AT_0, compared=3, wrong=2),))
    assert flaw_words(failed) == "a null check failed (the KL is 0 at the first step: 2 of 3 cells start above 0.)"
    assert doubt_words((), ()) == ""
    assert doubt_words((), (failed,)) == "a null check failed"
    assert doubt_words((), (TasksMissing(("body",), 9), failed)) == "1 of 9 tasks is missing, and 1 more"
    assert doubt_words((Note("data", "the data"),), (failed,)) == "the two sides differ in more than the method"
