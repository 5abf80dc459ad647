"""The answer at the top of a report: three sentences on each scope, and how far to trust those on the first.

The sentences follow from the evidence and tell differences in points with 95 % intervals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from carft.store.study_file import edge_words
from reports.analysis.contrasts import Contrast, Part, Sets, every_set, every_suite, id_test, pool
from reports.analysis.established import FORGETS, POSITIVE_CONTROL, Asked
from reports.analysis.forgetting import POSITIVE, GivenBack, equivalence_of, forgotten
from reports.analysis.levels import ClassRecognition, ContextRecognition, unknown_classes
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.claim import Verdict, each_once
from reports.claims.verdicts import can_be_asked, doubts
from reports.evidence.evidence import CAR_FT, FT, RANDOM, ZERO_SHOT, Entry, Evidence
from reports.evidence.note import few, listed
from reports.evidence.results import finished_trials
from reports.words.verdict_words import doubt_words, interval_words, shown_word

QUESTION = "Does CAR-FT beat plain fine-tuning, in and out of distribution?"
#: what the sentence on several scopes is about
ACROSS = "Side by side"
#: what of the box a terminal shows below the sentences
SUMMARISED = ("Scope", "Model", "Given back", "Rests on", "Search", "Scale", "Warnings")
SCALES = {
    "miniature": "miniature: drawings and a tiny CLIP. No evidence for or against the paper's numbers.",
    "paper": "paper: the data sets of the paper.",
    "own": "own: your images. No evidence for or against the paper's numbers.",
}


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

    def difference(self, evidence: Evidence, first: Entry, second: Entry) -> Part | None:
        """The mean over tasks; None where a side was not evaluated."""
        return pool(evidence, Contrast(first, second, self.metric, self.sets), self.title)


TOPICS = (
    Topic("Context recognition", "context", every_set, "contexts", "no image here has a known context"),
    Topic("In distribution", "top1", id_test, "test", "these tasks have no test set in distribution"),
    Topic("Out of distribution", "top1", every_suite, "suites", "these tasks have no shifted sets"),
)


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
        told = {evidence.name, *(verdict.scope for verdict in verdicts if not verdict.missing)}
        sentences = {}
        for view in evidence.views():
            if view.name in told:
                sentences[view.name] = tuple(sentence_on(topic, view, verdicts, checks) for topic in TOPICS)
        first = sentences.pop(evidence.name)
        trust = []
        for what, words in _trust(evidence, verdicts, checks, controls):
            if words:
                trust.append((what, words))
        return PageAnswer(QUESTION, first, sentences, _across(verdicts), tuple(trust))


def sentence_on(topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]) -> Sentence:
    """The sentence of a topic: what zero-shot recognises of contexts, the differences, and the verdicts."""
    if not can_be_asked(topic.needs, evidence):
        return Sentence(topic.title, f"not measured: {topic.lacking}.")
    decided = []
    for verdict in verdicts:
        if verdict.asked.topic == topic.title and verdict.scope == evidence.name and not verdict.missing:
            decided.append(verdict)
    compared = list(_compared(topic, evidence, decided, checks))
    moved = _moved(topic, evidence)
    clauses = [*compared, *moved]
    if topic.metric == "context":  # what was lost comes first
        clauses = [*_recognised(evidence), *moved, *compared]
    if not compared and not moved:
        why = "fine-tuned cells were not evaluated yet"
        broken = [task for task in evidence.tasks if task in evidence.archive.unreadable]
        if broken:
            why = f"the data of {few(broken)} are broken"
        if all(study.grid for study in evidence.studies):
            why = "nothing was tuned; the table equal_settings compares single settings"
        clauses.append(f"not measured: {why}")
    if compared and decided:
        clauses.append("claim " + ", ".join(f"{verdict.claim} {shown_word(verdict)}" for verdict in decided))
    return Sentence(topic.title, "; ".join(clauses) + ".")


def _recognised(evidence: Evidence) -> Iterator[str]:
    """What zero-shot recognises of contexts; nothing where it was not evaluated."""
    recognition = ContextRecognition.of(evidence)
    if recognition is not None:
        nothing = "" if recognition.is_above_chance else ", so fine-tuning has no recognition to lose here"
        yield recognition.words + nothing


def _moved(topic: Topic, evidence: Evidence) -> list[str]:
    """How fine-tuning and CAR-FT moved away from zero-shot, as one half sentence; none where neither was evaluated."""
    moves = []
    for entry, name in ((FT, "plain fine-tuning"), (CAR_FT, "CAR-FT")):
        part = topic.difference(evidence, entry, ZERO_SHOT)
        if part is None:
            continue
        if math.isnan(part.estimate.effect):
            moves.append(f"{name} cannot be compared")
            continue
        points, move = 100 * part.estimate.effect, "moved by"
        if part.low > 0:
            move = "gained"
        elif part.high < 0:
            move, points = "lost", -points
        moves.append(f"{name} {move} {points:.1f} points ({interval_words(part)})")
    if not moves:
        return []
    words = f"against zero-shot, {' and '.join(moves)}"
    classes = ClassRecognition.of(evidence, topic.sets) if topic.metric == "top1" else None
    if classes is not None and not classes.is_above_chance:
        words += f", where {classes.words}: not above chance"
    return [words]


def _compared(
    topic: Topic, evidence: Evidence, decided: Sequence[Verdict], checks: Sequence[NullCheck]
) -> Iterator[str]:
    """How CAR-FT, and methods of one's own, compare with plain fine-tuning, a half sentence each.

    decided: the verdicts on CAR-FT, whose doubts are those of its half sentence.
    """
    own = [study.method for study in evidence.studies if study.plugin]
    for method in dict.fromkeys((CAR_FT.method, *own)):
        part = topic.difference(evidence, Entry(method), FT)
        if part is None:
            continue
        unequal, damage = list(part.unequal), doubts(evidence, part.cells, failures(checks))
        if method == CAR_FT.method:
            for verdict in decided:
                unequal += verdict.unequal
                damage += verdict.damage
        doubt = doubt_words(each_once(unequal), each_once((*damage, *part.flaws)))
        if math.isnan(part.estimate.effect):
            reason = doubt or "they were not evaluated on the same images"
            yield f"{evidence.methods[method].label} and plain fine-tuning cannot be compared, since {reason}"
            continue
        words = _against_ft(evidence.methods[method].label, part, equivalence_of(evidence, topic.needs, [part]))
        yield f"{words}, in doubt: {doubt}" if doubt else words


def _against_ft(name: str, part: Part, equivalence: float | None) -> str:
    """A method minus plain fine-tuning. equivalence: the margin that the interval lies within; None for none."""
    effect, interval = part.estimate.effect, interval_words(part)
    if part.low > 0 or part.high < 0:
        side = "above" if effect > 0 else "below"
        return f"{name} is {abs(100 * effect):.1f} points {side} plain fine-tuning ({interval})"
    words = f"{name} minus plain fine-tuning is {100 * effect:+.1f} points ({interval})"
    if equivalence is not None:
        return f"{words}, so no difference above {100 * equivalence:.2g} points is left"
    if math.isnan(part.low):
        return f"{words}, which decides nothing"
    return f"{words}, so neither is shown to be better"


def _across(verdicts: Sequence[Verdict]) -> str:
    """How each primary endpoint came out in every scope that asked it; empty where none was asked in two."""
    asked: dict[str, dict[str, list[str]]] = {}
    for verdict in verdicts:
        if verdict.asked.is_primary and not verdict.missing:
            asked.setdefault(verdict.claim, {}).setdefault(shown_word(verdict), []).append(verdict.scope)
    clauses = []
    for claim, words in asked.items():
        if sum(map(len, words.values())) > 1:
            clauses.append(f"{claim} " + ", ".join(f"{word} on {listed(scopes)}" for word, scopes in words.items()))
    return f"{'; '.join(clauses)}." if clauses else ""


def _trust(
    evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck], controls: Sequence[Asked]
) -> Iterator[tuple[str, str]]:
    """(what, words) of everything that limits the sentences; empty words where there is nothing to say."""
    searches, search_words = _search(evidence)
    if evidence.others:
        yield "Scope", f"{evidence.name}, here and in the figure."
    yield "Model", unknown_classes(ClassRecognition.of(evidence))
    yield "Scale", SCALES.get(evidence.scale, evidence.scale)
    yield "Given back", _given_back(evidence)
    yield "Rests on", _size(evidence)
    yield "Could it have shown it", _controls([asked for asked in controls if asked.scope == evidence.name])
    yield "Search", search_words
    over, luck = "seeds", ", the luck of the search"
    if searches > 1:
        over, luck = "searches, seeds", ""
    brackets = f"the brackets are 95 % intervals over {over} and test images"
    yield "Intervals", f"{brackets}. They leave out other tasks, models and data{luck}."
    yield "Null checks", _checked(checks)
    yield "Broken data", " ".join(f"{task}: an image cannot be read." for task in evidence.archive.unreadable)
    yield "Warnings", _warnings(evidence, verdicts)


def _given_back(evidence: Evidence) -> str:
    """What FT forgets out of distribution and the shares that methods give back, as a sentence; empty if nothing."""
    words = []
    for name, entry in (("CAR-FT", CAR_FT), ("random vectors", RANDOM), ("WiSE-FT", POSITIVE)):
        share = GivenBack.of(evidence, entry)
        if share is not None and share.is_defined:
            words.append(f"{name} {share.words}")
    lost = forgotten(evidence)
    if not words or lost is None:
        return ""
    lost_words = f"out of distribution fine-tuning forgets {100 * lost.estimate.effect:.1f} points"
    return f"{lost_words}, of which come back with {', with '.join(words)}."


def _size(evidence: Evidence) -> str:
    """What CAR-FT minus FT rests on, in distribution if that was measured."""
    for topic in (*TOPICS[1:], TOPICS[0]):
        part = topic.difference(evidence, CAR_FT, FT)
        if part is not None and part.tasks:
            tasks = f"{len(part.tasks)} of {len(evidence.wanted_tasks)} tasks"
            n_seeds, unit = part.estimate.n_seeds, evidence.card(part.tasks[0]).group
            seeds = f"{n_seeds} seed{'s' * (n_seeds != 1)}"
            return f"{tasks}, {seeds}, {part.estimate.n_groups:,} test {unit}s."
    return "no pair of FT and CAR-FT cells yet."


def _controls(asked: Sequence[Asked]) -> str:
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
    """(the fewest searches that FT or CAR-FT has of a task, their trials and whether anything was tuned)."""
    compared = [study for study in evidence.studies if study.method in (FT.method, CAR_FT.method)]
    searches = min((len(evidence.searches(study.task, study.method)) for study in compared), default=0)
    ended = sorted(len(finished_trials(study, evidence.records)) for study in compared)
    if not any(ended):
        return searches, "none."
    if ended[-1] == 1:
        return searches, "one trial a study. Nothing was tuned: read nothing into the verdicts."
    spent = " to ".join(dict.fromkeys((str(ended[0]), str(ended[-1]))))
    words = f"{spent} trials a study, one search."
    if searches > 1:
        words = f"{spent} trials in each of {searches} searches a study."
    return searches, f"{words} {edge_words(compared, evidence.methods)}".rstrip()


def _checked(checks: Sequence[NullCheck]) -> str:
    """The null checks, counted; the failed ones by name."""
    failed = [check.name for check in failures(checks)]
    if failed:
        return f"FAILED: {'; '.join(failed)}. Nothing is decided about CAR-FT."
    counted = []
    for status, count in Counter(check.status for check in checks).items():
        counted.append(f"{count} {status}")
    return ", ".join(counted) + "."


def _warnings(evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """Cautions on verdicts, and departures from the protocol."""
    known: list[str] = []
    for verdict in verdicts:
        known += verdict.cautions
    cautions = list(each_once(known))
    departed = sum(len(of_study) for of_study in evidence.archive.departures.values())
    if departed:
        cautions.append(f"{departed} departure{'s' * (departed > 1)} from the protocol")
    return f"{'; '.join(cautions)}." if cautions else ""
