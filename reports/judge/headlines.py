"""What the sentences at the top of a report state: on each topic the verdict on CAR-FT against plain fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.judge.claims.claim import SUGGESTED, Direction, Stated, Verdict
from reports.judge.claims.rules import direction_of
from reports.judge.claims.verdicts import can_be_asked, doubts
from reports.judge.contrasts.contrast import Contrast, Sets, every_set, every_suite, id_test, pool
from reports.judge.entry import CAR_FT, FT, Entry
from reports.judge.evidence import Evidence
from reports.judge.forgetting import equivalence_of
from reports.judge.null_checks import NullCheck, failures
from reports.judge.part import Part


@dataclass(frozen=True)
class Topic:
    """What a sentence is about."""

    title: str
    metric: str
    sets: Sets
    needs: str
    """What a scope must have, as in the ledger."""
    lacking: str
    """Why there is no number where it does not have it."""


TOPICS = (
    Topic("Context recognition", "context", every_set, "contexts", "no image here has a known context"),
    Topic("In distribution", "top1", id_test, "test", "these tasks have no test set in distribution"),
    Topic("Out of distribution", "top1", every_suite, "suites", "these tasks have no shifted sets"),
)


@dataclass(frozen=True)
class Headline:
    """A method against plain fine-tuning on a topic."""

    topic: Topic
    label: str
    """Of the method."""
    part: Part
    """The method minus plain fine-tuning."""
    shown: Part
    """The part that the verdict rests on; mostly the same one."""
    direction: Direction
    """Of the statement that the method is higher."""
    in_doubt: bool
    """Whether something stands against the evidence; then it decides nothing."""
    equivalence: float | None
    """The margin of equivalence that the interval lies within, a share of 1; None where it does not."""
    suggested: bool = False
    """Whether it rests on one search."""
    margin: Verdict | None = None
    """The verdict of the claim that allows a margin; None without one."""


@dataclass(frozen=True)
class Headlines:
    """What is stated of a topic in a scope."""

    topic: Topic
    can_be_asked: bool
    """Whether some task has what the topic needs."""
    car_ft: Part | None
    """CAR-FT minus plain fine-tuning, the mean over tasks; None where a side was not evaluated."""
    stated: Sequence[Headline]
    """CAR-FT's, then those of methods of one's own; one that was not evaluated is left out."""
    decided: Sequence[Verdict]
    """The verdicts of the scope on the topic."""


def _difference(topic: Topic, evidence: Evidence, method: str) -> Part | None:
    """A method minus plain fine-tuning, the mean over tasks; None where a side was not evaluated."""
    return pool(evidence, Contrast(Entry(method), FT, topic.metric, topic.sets), topic.title)


def headlines(topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]) -> Headlines:
    """What is stated of a topic in a scope. verdicts, checks: of the folder."""
    decided = []
    for verdict in verdicts:
        if verdict.asked.topic == topic.title and verdict.scope == evidence.name and not verdict.missing:
            decided.append(verdict)
    is_asked, car_ft = can_be_asked(topic.needs, evidence), _difference(topic, evidence, CAR_FT.method)
    stated = _headlines(topic, evidence, verdicts, checks) if is_asked else []
    return Headlines(topic, is_asked, car_ft, stated, decided)


def _headlines(
    topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]
) -> list[Headline]:
    """CAR-FT's, then those of methods of one's own; one that was not evaluated is left out.

    CAR-FT's is that of the verdict. Where no claim is asked, as of a method of one's own, the interval decides.
    """
    found = []
    methods = dict.fromkeys(study.method for study in evidence.studies if study.plugin)
    stated = _stated(topic, evidence, verdicts)
    if "direction" not in stated:
        methods = {CAR_FT.method: None, **methods}
    elif not stated["direction"].missing:
        found.append(_of_verdict(topic, evidence, stated["direction"], stated.get("margin")))
    for method in methods:
        part = _difference(topic, evidence, method)
        if part is not None:
            found.append(_of_part(topic, evidence, method, part, checks))
    return found


def _stated(topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict]) -> dict[Stated, Verdict]:
    """What is stated of a verdict -> the verdict; without what no claim that is asked here decides."""
    stated: dict[Stated, Verdict] = {}
    for verdict in verdicts:
        if verdict.scope == evidence.name and verdict.asked.topic == topic.title and verdict.asked.headline:
            stated[verdict.asked.headline] = verdict
    return stated


def _of_verdict(topic: Topic, evidence: Evidence, verdict: Verdict, margin: Verdict | None) -> Headline:
    part = verdict.deciding[0]
    return Headline(
        topic,
        evidence.methods[CAR_FT.method].label,
        part,
        verdict.shown or part,
        verdict.direction,
        in_doubt=bool(verdict.flag),
        equivalence=verdict.equivalence,
        suggested=verdict.verdict.startswith(SUGGESTED),
        margin=margin,
    )


def _of_part(topic: Topic, evidence: Evidence, method: str, part: Part, checks: Sequence[NullCheck]) -> Headline:
    equivalence = None if math.isnan(part.low) else equivalence_of(evidence, topic.needs, [part])
    direction, _ = direction_of([part], equivalence)
    doubted = part.unequal or part.flaws or doubts(evidence, part.cells, failures(checks))
    label = evidence.methods[method].label
    return Headline(topic, label, part, part, direction, in_doubt=bool(doubted), equivalence=equivalence)
