"""The answer at the top of a report: three sentences on each scope, and how far to trust those on the first.

The sentences follow from the evidence and tell differences in points with 95 % intervals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from carft.core.errors import first_of
from carft.store.study_file import edge_words
from reports.analysis.contrasts import Part
from reports.analysis.established import FORGETS, POSITIVE_CONTROL, Asked
from reports.analysis.forgetting import POSITIVE, GivenBack, forgotten
from reports.analysis.levels import ClassRecognition
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.answer import Compared, TopicAnswer, Unmeasured, broken_tasks, topic_answers
from reports.claims.claim import Verdict, each_once
from reports.evidence.caveats import AnyCaution
from reports.evidence.evidence import CAR_FT, FT, RANDOM, Evidence
from reports.words.caveats_words import caution_word
from reports.words.controls_words import given_back_words
from reports.words.levels_words import classes_words, recognition_words, unknown_classes_words
from reports.words.verdict_words import doubt_words, interval_words, listed, shown_word

QUESTION = "Does CAR-FT beat plain fine-tuning, in and out of distribution?"
#: what the sentence on several scopes is about
ACROSS = "Side by side"
#: what of the box a terminal shows below the sentences
SUMMARISED = ("Scope", "Model", "Given back", "Rests on", "Search", "Scale", "Warnings")
#: what a topic needs -> why there is no number where the scope does not have it
LACKING = {
    "contexts": "no image here has a known context",
    "test": "these tasks have no test set in distribution",
    "suites": "these tasks have no shifted sets",
}
NAMES = {FT: "plain fine-tuning", CAR_FT: "CAR-FT"}


@dataclass(frozen=True)
class Sentence:
    """One sentence of the answer."""

    topic: str
    """What it is about: context recognition, or accuracy in or out of distribution."""
    words: str
    """The rest of the sentence."""

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.topic}: {self.words}"


@dataclass(frozen=True)
class PageAnswer:
    """What came out, and how far to trust it."""

    question: str
    sentences: tuple[Sentence, ...]
    """The three on the scope that is reported first."""
    others: Mapping[str, tuple[Sentence, ...]]
    """Further scope that something was decided in -> the three sentences on it."""
    across: str
    """The primary endpoints that were decided in several scopes, side by side; empty without any."""
    trust: tuple[tuple[str, str], ...]
    """(what, words) of everything that limits the sentences."""

    @property
    def summary(self) -> tuple[tuple[str, str], ...]:
        """(what, words): the question, the sentences on the first scope, and how sure they are."""
        lines = [("Asked", self.question)]
        for sentence in self.sentences:
            lines.append((sentence.topic, sentence.words))
        if self.across:
            lines.append((ACROSS, self.across))
        for what, words in self.trust:
            if what in SUMMARISED:
                lines.append((what, words))
        return tuple(lines)

    @staticmethod
    def of(
        evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck], controls: Sequence[Asked]
    ) -> PageAnswer:
        """The answer of a results folder.

        verdicts and controls: of all scopes. checks: the null checks of the folder.
        """
        answers = topic_answers(evidence, verdicts, checks)
        contexts, inside, outside = answers[evidence.name]
        sentences = {}
        for view in evidence.views():
            if view.name in answers:
                sentences[view.name] = tuple(sentence_on(answer, view) for answer in answers[view.name])
        first = sentences.pop(evidence.name)
        main = inside.over or outside.over or contexts.over
        trust = {}
        for what, words in _trust(evidence, main, verdicts, checks, controls):
            if words:
                trust[what] = words
        return PageAnswer(QUESTION, first, sentences, across_words(verdicts), tuple(trust.items()))


def across_words(verdicts: Sequence[Verdict]) -> str:
    """How each primary endpoint came out in every scope that asked it; empty where none was asked in two."""
    asked: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.asked.is_primary and not verdict.missing:
            asked.setdefault(verdict.claim, []).append(verdict)
    clauses = []
    for claim, of_claim in asked.items():
        if len(of_claim) > 1:
            clauses.append(f"{claim} {_in_scopes(of_claim)}")
    return f"{'; '.join(clauses)}." if clauses else ""


def _in_scopes(verdicts: Sequence[Verdict]) -> str:
    """The answers of one claim, each once, with the scopes that it has it in."""
    scopes: dict[str, list[str]] = {}
    for verdict in verdicts:
        scopes.setdefault(shown_word(verdict), []).append(verdict.scope)
    return ", ".join(f"{word} on {listed(names)}" for word, names in scopes.items())


def sentence_on(answer: TopicAnswer, evidence: Evidence) -> Sentence:
    """The sentence of a topic: what zero-shot recognises of contexts, the differences, and the verdicts."""
    clauses = [_compared(compared) for compared in answer.compared]
    if answer.moved:
        moves = " and ".join(f"{NAMES[entry]} {_moved(part)}" for entry, part in answer.moved)
        if answer.classes is not None and not answer.classes.is_above_chance:
            moves += f", where {classes_words(answer.classes)}: not above chance"
        clauses.append(f"against zero-shot, {moves}")
        if answer.topic.metric == "context":  # what was lost comes first
            clauses = [clauses[-1], *clauses[:-1]]
    if answer.unmeasured is not None:
        clauses.append(f"not measured: {_why_unmeasured(answer, evidence)}")
    if answer.recognition is not None:
        words = recognition_words(answer.recognition)
        if not answer.recognition.is_above_chance:
            words += ", so fine-tuning has no recognition to lose here"
        clauses.insert(0, words)
    if answer.verdicts:
        decided = ", ".join(f"{verdict.claim} {shown_word(verdict)}" for verdict in answer.verdicts)
        clauses.append(f"claim {decided}")
    return Sentence(answer.topic.title, "; ".join(clauses) + ".")


def _compared(compared: Compared) -> str:
    """How a method compares with plain fine-tuning, as half a sentence."""
    part, method = compared.part, compared.method
    doubt = doubt_words(compared.unequal, compared.damage)
    effect, interval = part.estimate.effect, interval_words(part)
    if math.isnan(effect):
        why = doubt or "they differ in more than the method"
        return f"{method} and plain fine-tuning cannot be compared, since {why}"
    words = f"{method} minus plain fine-tuning is {100 * effect:+.1f} points ({interval})"
    if part.low > 0 or part.high < 0:
        side = "above" if effect > 0 else "below"
        words = f"{method} is {abs(100 * effect):.1f} points {side} plain fine-tuning ({interval})"
    elif compared.equivalence is not None:
        words += f", so no difference above {100 * compared.equivalence:.2g} points is left"
    elif math.isnan(part.low):
        words += ", which decides nothing"
    else:
        words += ", so neither is shown to be better"
    if doubt:
        words += f", in doubt: {doubt}"
    return words


def _why_unmeasured(answer: TopicAnswer, evidence: Evidence) -> str:
    match answer.unmeasured:
        case Unmeasured.LACKING:
            return LACKING[answer.topic.needs]
        case Unmeasured.NOTHING_TUNED:
            return "nothing was tuned; the table equal_settings compares single settings"
        case Unmeasured.BROKEN_DATA:
            return f"the data of {first_of(broken_tasks(evidence), 3)} are broken"
    return "fine-tuned cells were not evaluated yet"


def _moved(part: Part) -> str:
    effect = part.estimate.effect
    if math.isnan(effect):
        return "cannot be compared"
    if part.low > 0 or part.high < 0:
        verb = "gained" if effect > 0 else "lost"
        return f"{verb} {abs(100 * effect):.1f} points ({interval_words(part)})"
    return f"moved by {100 * effect:+.1f} ({interval_words(part)})"


SCALES = {
    "miniature": "miniature: drawings and a tiny CLIP. No evidence for or against the paper's numbers.",
    "paper": "paper: the data sets of the paper.",
    "own": "own: your images. No evidence for or against the paper's numbers.",
}


def _trust(
    evidence: Evidence,
    main: Part | None,
    verdicts: Sequence[Verdict],
    checks: Sequence[NullCheck],
    controls: Sequence[Asked],
) -> Iterator[tuple[str, str]]:
    """(what, words) of everything that limits the sentences; empty words where there is nothing to say.

    main: CAR-FT minus FT, in distribution if that was measured.
    """
    searches, search_words = _search(evidence)
    asked = [control for control in controls if control.scope == evidence.name]
    if evidence.others:
        yield "Scope", f"{evidence.name}, here and in the figure."
    yield "Model", unknown_classes_words(ClassRecognition.of(evidence))
    yield "Scale", SCALES.get(evidence.scale, evidence.scale)
    yield "Given back", _given_back(evidence)
    yield "Rests on", _size(evidence, main)
    yield "Could it have shown it", _sensitive(asked)
    yield "Search", search_words
    yield "Intervals", _covered(len(evidence.tasks), searches)
    yield "Null checks", _checked(checks)
    yield "Broken data", " ".join(f"{task}: an image cannot be read." for task in evidence.archive.unreadable)
    yield "Warnings", _warnings(evidence, verdicts)


def _covered(tasks: int, searches: int) -> str:
    """What intervals cover, and what they leave out."""
    over = "searches, seeds" if searches > 1 else "seeds"
    missing = []
    if tasks > 1:
        missing.append("other tasks")
    if searches < 2:
        missing.append("the luck of the search")
    missing.append("other models and data")
    return f"the brackets are 95 % intervals over {over} and test images. They leave out {', '.join(missing)}."


def _given_back(evidence: Evidence) -> str:
    """What FT forgets out of distribution and the shares that methods give back, as a sentence; empty if nothing."""
    words = []
    for name, entry in (("CAR-FT", CAR_FT), ("random vectors", RANDOM), ("WiSE-FT", POSITIVE)):
        share = GivenBack.of(evidence, entry)
        if share is not None and share.is_defined:
            words.append(f"{name} {given_back_words(share)}")
    lost = forgotten(evidence)
    if not words or lost is None:
        return ""
    lost_words = f"out of distribution fine-tuning forgets {100 * lost.estimate.effect:.1f} points"
    return f"{lost_words}, of which come back with {', with '.join(words)}."


def _size(evidence: Evidence, part: Part | None) -> str:
    if part is None or not part.tasks:
        return "no pair of FT and CAR-FT cells yet."
    tasks, wanted, n_seeds = len(part.tasks), len(evidence.wanted_tasks), part.estimate.n_seeds
    of = f" of {wanted}" * (wanted > tasks)
    seeds = "1 seed: no interval" if n_seeds == 1 else f"{n_seeds} seeds"
    unit = evidence.card(part.tasks[0]).group
    return f"{tasks}{of} task{'s' * (max(tasks, wanted) > 1)}, {seeds}, {part.estimate.n_groups:,} test {unit}s."


def _sensitive(asked: Sequence[Asked]) -> str:
    """How many controls held, and what was measured of forgetting and of the positive control."""
    counts = Counter[str](one.answer for one in asked)
    held = []
    for answer, words in (("holds", "hold"), ("does not hold", "do not hold"), ("not run", "not run")):
        if counts[answer]:
            held.append(f"{counts[answer]} {words}")
    clauses = [f"controls: {', '.join(held)}"]
    for one in asked:
        if one.part is not None and one.control in (FORGETS, POSITIVE_CONTROL):
            size = f"{100 * one.part.estimate.effect:+.1f} points ({interval_words(one.part)})"
            clauses.append(f"{one.control.name}: {one.answer}, {size}")
    return "; ".join(clauses) + "."


def _search(evidence: Evidence) -> tuple[int, str]:
    """(searches that every compared study has at least, the trials of every study and whether anything was tuned).

    Compared are FT and CAR-FT; without those, all trained methods.
    """
    trained = [study for study in evidence.studies if evidence.methods[study.method].kind == "trained"]
    compared = [study for study in trained if study.method in (FT.method, CAR_FT.method)] or trained
    ended: list[int] = []
    counts: list[int] = []
    for study in compared:
        by_search = evidence.ended_by_search(study.task, study.method)
        counts.append(len(by_search))
        for trials in by_search:
            ended.append(len(trials))
    searches = min(counts, default=0)
    if not any(ended):
        return searches, "none."
    least, most = min(ended), max(ended)
    if most == 1:
        return searches, "one trial a study. Nothing was tuned: read nothing into the verdicts."
    spent = str(most) if least == most else f"{least} to {most}"
    words = f"{spent} trials a study, one search."
    if searches > 1:
        words = f"{spent} trials in each of {searches} searches a study."
    return searches, f"{words} {edge_words(compared, evidence.methods)}".rstrip()


def _checked(checks: Sequence[NullCheck]) -> str:
    """The null checks, counted; the failed ones by name."""
    failed = [check.name for check in failures(checks)]
    if failed:
        return f"FAILED: {'; '.join(failed)}. Nothing is decided about CAR-FT."
    counts = Counter(check.status for check in checks)
    counted = []
    for status in ("passed", "not checkable"):
        if counts[status]:
            counted.append(f"{counts[status]} {status}")
    return ", ".join(counted) + "."


def _warnings(evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """Cautions on verdicts, and departures from the protocol."""
    known: list[AnyCaution] = []
    for verdict in verdicts:
        known += verdict.cautions
    cautions = [caution_word(caution) for caution in each_once(known)]
    departed = sum(len(of_study) for of_study in evidence.archive.departures.values())
    if departed:
        cautions.append(f"{departed} departure{'s' * (departed > 1)} from the protocol")
    if not cautions:
        return ""
    return f"{'; '.join(cautions)}."
