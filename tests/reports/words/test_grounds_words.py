"""What is said of the grounds of a decision, from facts that are written down here."""

from __future__ import annotations

import pytest

from reports.analysis.contrasts import Part
from reports.analysis.levels import ContextRecognition
from reports.claims.claim import Ground
from reports.claims.ledger.c5_every_task import TasksGained
from reports.claims.ledger.c6_domainbed import MinusClaimed
from reports.claims.rules import CouldBeGivenBack, OpenAfterHolm, Outcome, ReferenceGaps, SuitesAlone, UnknownContexts
from reports.stats.intervals import Component, Estimate
from reports.words.grounds_words import ground_words


def part(place: str, effect: float, sides: str = "CAR-FT - FT", **settings: float) -> Part:
    estimate = Estimate(effect, (Component(1e-4, 10_000, "groups"),), 3, 60)
    return Part(sides, estimate, (), (place,), place=place, **settings)  # type: ignore[arg-type]


HIGH, LOW, OPEN = part("hands", 0.1), part("scans", -0.1), part("photos", 0.0)

GROUNDS: tuple[tuple[Ground, str], ...] = (
    (Outcome("for", (HIGH,)), "The whole interval lies on the claim's side of the margin."),
    (
        Outcome("for", (HIGH, part("photos", 0.2))),
        "All 2 intervals lie on the claim's side; the weakest is CAR-FT - FT, hands.",
    ),
    (Outcome("against", (LOW,), (LOW,)), "The whole interval lies on the other side for: CAR-FT - FT, scans."),
    (
        Outcome("against", (LOW, HIGH), (LOW,)),
        "The whole interval lies on the other side, after Holm, for: scans.",
    ),
    (
        Outcome("open", (LOW, HIGH, OPEN), (), (OPEN,), (LOW,)),
        "The interval reaches the margin for: photos. "
        "It lies on the other side, but not after Holm over 3, for: scans.",
    ),
    (
        Outcome("open", (OPEN, part("x", 0.0, "WiSE - FT")), (), (OPEN,)),
        "The interval reaches the margin for: CAR-FT - FT, photos.",
    ),
    (
        Outcome("no difference", (OPEN,), (), (OPEN,), (), 0.005),
        "The whole interval lies within 0.5 points of 0, the margin of equivalence. The interval reaches the margin "
        "for: CAR-FT - FT, photos.",
    ),
    (
        ReferenceGaps((part("hands", 0.1, reported=0.09), part("scans", 0.1, reported=0.2))),
        "Reference gaps (secondary) against these intervals: hands +9.00 inside, scans +20.00 outside.",
    ),
    (OpenAfterHolm(0.031, 4), "After Holm over 4 primary endpoints p is 3.1 %, not below 2.5 %."),
    (
        UnknownContexts(ContextRecognition(Estimate(0.05, (Component(1e-4, 10_000, "groups"),), 1, 60), 0.2)),
        "Zero-shot recognises 5.0 % of contexts (95 %: 3.4 to 7.3; chance 20.0), not above chance: fine-tuning has no "
        "recognition to lose here.",
    ),
    (
        CouldBeGivenBack(HIGH),
        "Fine-tuning forgets +10.0 points out of distribution (+8.0 to +12.0): what could be given back.",
    ),
    (SuitesAlone(("hands", "scans")), "It rests on hands, scans alone."),
    (TasksGained(5, 9, ()), "5 of 9 tasks gain."),
    (
        TasksGained(5, 9, ("pets",)),
        "5 of 9 tasks gain. Decided on mean per class, the usual metric of: pets; top-1 stands beside it.",
    ),
    (MinusClaimed(0.012), "Effects are measured minus claimed; the interval is 1.2 points to either side."),
)


@pytest.mark.parametrize(("ground", "words"), GROUNDS, ids=lambda value: type(value).__name__)
def test_every_ground_has_its_words(ground: Ground, words: str) -> None:
    assert ground_words(ground) == words
