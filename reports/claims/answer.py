"""What the answer at the top of a report rests on: for each topic the differences, the verdicts, and their doubts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from reports.analysis.contrasts import Contrast, Part, Sets, every_set, every_suite, id_test, pool
from reports.analysis.flaws import Flaw
from reports.analysis.forgetting import equivalence_of
from reports.analysis.levels import ContextRecognition
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.claim import Verdict, each_once
from reports.claims.ledger import ledger
from reports.claims.verdicts import can_be_asked, doubts
from reports.evidence.evidence import CAR_FT, FT, ZERO_SHOT, Entry, Evidence
from reports.evidence.inequality import Inequality


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
    unequal: tuple[Inequality, ...]
    damage: tuple[Flaw, ...]


@dataclass(frozen=True)
class TopicAnswer:
    """What one sentence says."""

    topic: Topic
    recognition: ContextRecognition | None
    """Of the topic of contexts."""
    moved: tuple[tuple[Entry, Part], ...]
    """Fine-tuning and CAR-FT against zero-shot."""
    compared: tuple[Compared, ...]
    """CAR-FT and methods of one's own against plain fine-tuning."""
    verdicts: tuple[Verdict, ...]
    """Those that the sentence names."""
    unmeasured: Unmeasured | None
    over: Part | None
    """CAR-FT minus FT; None where a side was not evaluated."""


def topic_answer(
    topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]
) -> TopicAnswer:
    """What is known of a topic in one scope."""
    is_asked = can_be_asked(topic.needs, evidence)

    def difference(first: Entry, second: Entry) -> Part | None:
        contrast = Contrast(first, second, topic.metric, topic.sets)
        return pool(evidence, contrast, topic.title) if is_asked else None

    moved = []
    for entry in (FT, CAR_FT):
        if (part := difference(entry, ZERO_SHOT)) is not None:
            moved.append((entry, part))
    named = {claim.id for claim in ledger().values() if claim.topic == topic.title}
    decided = [v for v in verdicts if v.claim in named and v.scope == evidence.name and not v.missing]
    own = [Entry(study.method) for study in evidence.studies if study.plugin]
    compared, over = [], difference(CAR_FT, FT)
    for entry in dict.fromkeys([CAR_FT, *own]):
        part = over if entry == CAR_FT else difference(entry, FT)
        if part is not None:
            beside = decided if entry == CAR_FT else []
            of_cells = doubts(evidence, part.cells, failures(checks))
            damage = each_once([of_cells, *(verdict.damage for verdict in beside), part.flaws])
            unequal = each_once([part.unequal, *(verdict.unequal for verdict in beside)])
            equivalence = equivalence_of(evidence, topic.needs, [part])
            compared.append(Compared(evidence.methods[entry.method].label, part, equivalence, unequal, damage))
    unmeasured = None
    if not moved and not compared:
        unmeasured = _unmeasured(evidence) if is_asked else Unmeasured.LACKING
    recognition = ContextRecognition.of(evidence) if topic.metric == "context" else None
    shown = tuple(decided) if over is not None else ()
    return TopicAnswer(topic, recognition, tuple(moved), tuple(compared), shown, unmeasured, over)


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
