"""What is said of evidence that is missing, and of sides that differ: one sentence for each kind of fact."""

import pytest
from reports.evidence.findings import Finding, What
from reports.evidence.inequality import Inequality, Unequal

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
from reports.claims.verdicts import MarginChanged, NullCheckFailed, RangesTooNarrow
from reports.words.flaws_words import flaw_words, inequality_words
from reports.words.verdict_words import doubt_words

BOTH = ("ft", "car_ft")
LATE = Finding.of(What.SEEDS_MISSING, seeds=[2])

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
    (NotByProtocol(LATE, "body", "ft", 2), "body, ft: its confirm cells lack the planned seeds 2, search 2"),
    (NotByProtocol(LATE), "its confirm cells lack the planned seeds 2"),
    (
        TasksUnlike("ft", SameOnTasks.CONFIRM_SEEDS, (((6, 6), ("a", "b")), ((10,), ("c",)))),
        "the tasks have different numbers of confirm seeds of ft: 10 on c, 6 + 6 on a, b",
    ),
    (
        TasksUnlike("ft", SameOnTasks.RANGES, (((), ("a",)), (((("lr", 1e-5, 1e-3),),), ("c",)))),
        "the tasks have different search ranges of ft: learning rate 1e-05 to 0.001 on c, none on a",
    ),
    (FewSeeds(), "fewer than 3 seeds"),
    (MarginChanged("X1", 2.0, 0.5), "the margin of X1 is 2 points, and was 0.5 when a sweep was planned"),
    (
        RangesTooNarrow((("car_ft", "lr", 3, 9), ("ft", "lr", 4, 9))),
        "the search range is too narrow: winners lie at the edge for lr of car_ft (3 of 9), lr of ft (4 of 9)",
    ),
    (ReadingsLost(("default", "crop 0.5")), "no estimate under default; crop 0.5"),
)


@pytest.mark.parametrize(("flaw", "words"), FLAWS, ids=lambda value: type(value).__name__)
def test_every_flaw_has_its_words(flaw: Flaw, words: str) -> None:
    assert flaw_words(flaw) == words


UNEQUAL = (
    (
        Inequality(Unequal.RANGE, BOTH, ((1e-4, 1e-2, 1e-3), ()), "learning rate", ("a", "b", "c", "d")),
        "the range of the learning rate (ft 0.0001 to 0.01 from 0.001 against car_ft not on record) on a, b, c, ...",
    ),
    (Inequality(Unequal.SETTING, BOTH, ((0,), (7,)), "search seed"), "the search seed (ft 0 against car_ft 7)"),
    (
        Inequality(Unequal.SETTING, BOTH, (("sobol",), (2,)), "sampler"),
        "the sampler (ft sobol against car_ft in rounds of 2)",
    ),
    (Inequality(Unequal.SETTING, BOTH, (("a", "b"), ("c",)), "code"), "the code (ft a, b against car_ft c)"),
    (
        Inequality(Unequal.RECIPE, BOTH, ((64,), (None,)), "batch_size"),
        "the training recipe (batch size) (ft 64 against car_ft None)",
    ),
    (
        Inequality(Unequal.TRIAL_COUNTS, BOTH, ((6, 5), ()), tasks=("a",)),
        "the searches (6 + 5 against 0 finished trials) on a",
    ),
    (
        Inequality(Unequal.TRIALS, BOTH, (((0, 1), (2,)), ((0, 2), (2,)))),
        "the searches (trials 0, 1 + 2 against 0, 2 + 2 ended)",
    ),
    (
        Inequality(Unequal.IMAGES, ("x", "y"), name="test"),
        "Cells x and y were evaluated on different images or labels of test",
    ),
    (
        Inequality(Unequal.MODEL, ("here", "claimed"), (("RN50", "openai"), ("CLIP ViT-B/16",))),
        "the model (RN50 from 'openai', and the claim is about CLIP ViT-B/16 from OpenAI's weights)",
    ),
)


@pytest.mark.parametrize(("found", "words"), UNEQUAL, ids=lambda value: getattr(value, "name", "")[:20])
def test_every_inequality_has_its_words(found: Inequality, words: str) -> None:
    assert inequality_words(found) == words


def test_a_doubt_is_the_first_flaw_without_brackets_and_the_number_of_others() -> None:
    failed = NullCheckFailed((NullCheck(NullProperty.STARTS_AT_0, compared=3, wrong=2),))
    assert flaw_words(failed) == "a null check failed (the KL is 0 at the first step: 2 of 3 cells start above 0.)"
    assert doubt_words((), ()) == ""
    assert doubt_words((), (failed,)) == "a null check failed"
    assert doubt_words((), (TasksMissing(("body",), 9), failed)) == "1 of 9 tasks is missing, and 1 more"
    assert doubt_words((UNEQUAL[0][0],), (failed,)) == "the two sides differ in more than the method"
