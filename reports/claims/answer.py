"""What the answer at the top of a report rests on: for each topic the differences, the verdicts, and their doubts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from reports.analysis.contrasts import Contrast, Part, Sets, every_set, every_suite, id_test, pool
from reports.analysis.flaws import Flaw
from reports.analysis.forgetting import equivalence_of
from reports.analysis.levels import ClassRecognition, ContextRecognition
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.claim import Verdict, each_once
from reports.claims.verdicts import can_be_asked, doubts
from reports.evidence.evidence import CAR_FT, FT, ZERO_SHOT, Entry, Evidence
from reports.evidence.note import Note


@dataclass(frozen=True)
class Topic:
    """What a sentence is about."""

    title: str
    metric: str
    sets: Sets
    needs: str
    """What a scope must have, as in the ledger."""


TOPICS = (
    Topic("Context recognition", "context", every_set, "contexts"),
    Topic("In distribution", "top1", id_test, "test"),
    Topic("Out of distribution", "top1", every_suite, "suites"),
)


class Unmeasured(Enum):
    """Why a topic has no number."""

    LACKING = auto()
    """The scope does not have what the topic needs."""
    NOTHING_TUNED = auto()
    """There are single settings alone."""
    BROKEN_DATA = auto()
    NOT_EVALUATED = auto()


@dataclass(frozen=True)
class Compared:
    """A method against plain fine-tuning."""

    method: str
    """Its label."""
    part: Part
    equivalence: float | None
    """The margin that the whole interval lies within, a share of 1; None where it does not."""
    unequal: tuple[Note, ...]
    damage: tuple[Flaw, ...]


@dataclass(frozen=True)
class TopicAnswer:
    """What one sentence says."""

    topic: Topic
    recognition: ContextRecognition | None = None
    """Of the topic of contexts."""
    classes: ClassRecognition | None = None
    """Of the others."""
    moved: tuple[tuple[Entry, Part], ...] = ()
    """Fine-tuning and CAR-FT against zero-shot."""
    compared: tuple[Compared, ...] = ()
    """CAR-FT and methods of one's own against plain fine-tuning."""
    verdicts: tuple[Verdict, ...] = ()
    """Those that the sentence names."""
    unmeasured: Unmeasured | None = None
    over: Part | None = None
    """CAR-FT minus FT; None where a side was not evaluated."""


def topic_answer(
    topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]
) -> TopicAnswer:
    """What is known of a topic in one scope."""
    if not can_be_asked(topic.needs, evidence):
        return TopicAnswer(topic, unmeasured=Unmeasured.LACKING)
    moved = []
    for entry in (FT, CAR_FT):
        part = _difference(topic, evidence, entry, ZERO_SHOT)
        if part is not None:
            moved.append((entry, part))
    decided = []
    compared = []
    over = _difference(topic, evidence, CAR_FT, FT)
    if over is not None:
        for verdict in verdicts:
            if verdict.asked.topic == topic.title and verdict.scope == evidence.name and not verdict.missing:
                decided.append(verdict)
        compared.append(_compared(topic, evidence, CAR_FT, over, decided, checks))
    for method in dict.fromkeys(study.method for study in evidence.studies if study.plugin):
        part = _difference(topic, evidence, Entry(method), FT)
        if part is not None and method != CAR_FT.method:
            compared.append(_compared(topic, evidence, Entry(method), part, [], checks))
    recognition = classes = unmeasured = None
    if topic.metric == "context":
        recognition = ContextRecognition.of(evidence)
    else:
        classes = ClassRecognition.of(evidence, topic.sets)
    if not moved and not compared:
        unmeasured = _unmeasured(evidence)
    return TopicAnswer(topic, recognition, classes, tuple(moved), tuple(compared), tuple(decided), unmeasured, over)


def _difference(topic: Topic, evidence: Evidence, first: Entry, second: Entry) -> Part | None:
    return pool(evidence, Contrast(first, second, topic.metric, topic.sets), topic.title)


def _compared(
    topic: Topic,
    evidence: Evidence,
    entry: Entry,
    part: Part,
    beside: Sequence[Verdict],
    checks: Sequence[NullCheck],
) -> Compared:
    """A method against plain fine-tuning. beside: the verdicts on it, whose doubts are its own."""
    unequal = list(part.unequal)
    damage = doubts(evidence, part.cells, failures(checks))
    for verdict in beside:
        unequal += verdict.unequal
        damage += verdict.damage
    damage += part.flaws
    equivalence = equivalence_of(evidence, topic.needs, [part])
    return Compared(evidence.methods[entry.method].label, part, equivalence, each_once(unequal), each_once(damage))


def _unmeasured(evidence: Evidence) -> Unmeasured:
    """Why fine-tuned cells were not evaluated: no search, images that cannot be read, or nothing yet."""
    if all(study.grid for study in evidence.studies):
        return Unmeasured.NOTHING_TUNED
    return Unmeasured.BROKEN_DATA if broken_tasks(evidence) else Unmeasured.NOT_EVALUATED


def broken_tasks(evidence: Evidence) -> list[str]:
    """Tasks of a scope with images that cannot be read."""
    return [task for task in evidence.tasks if task in evidence.archive.unreadable]


def topic_answers(
    evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]
) -> dict[str, tuple[TopicAnswer, ...]]:
    """Scope -> what is known of each topic; the scope that is reported first, then others that decided something."""
    decided = {verdict.scope for verdict in verdicts if not verdict.missing}
    answers = {}
    for view in evidence.views():
        if view.name in {evidence.name, *decided}:
            answers[view.name] = tuple(topic_answer(topic, view, verdicts, checks) for topic in TOPICS)
    return answers
