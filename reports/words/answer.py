"""The answer at the top of a report: three sentences on each scope, and how far to trust those on the first.

The sentences follow from the evidence and tell differences in points with 95 % intervals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from carft.core.errors import first_of
from carft.store.study import edge_words
from reports.analysis.contrasts import Part
from reports.analysis.established import FORGETS, POSITIVE_CONTROL, Asked
from reports.analysis.forgetting import POSITIVE, GivenBack, forgotten
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.answer import Compared, TopicAnswer, Unmeasured, broken_tasks, topic_answers
from reports.claims.claim import Verdict, each_once
from reports.evidence.evidence import CAR_FT, FT, RANDOM, Evidence
from reports.words.caveats import caution_word
from reports.words.controls import given_back_words
from reports.words.levels import recognition_words
from reports.words.verdict import doubt_words, interval_words, shown_word

QUESTION = "Does CAR-FT beat plain fine-tuning, in and out of distribution?"
#: what of the box a terminal shows below the sentences
SUMMARISED = ("Scope", "Given back", "Rests on", "Search", "Scale", "Warnings")
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

    sentences: tuple[Sentence, ...]
    """Three on the scope that is reported first."""
    others: Mapping[str, tuple[Sentence, ...]]
    """Further scope that something was decided in -> the three sentences on it."""
    trust: tuple[tuple[str, str], ...]
    """(what, words) of everything that limits the sentences."""

    @property
    def summary(self) -> tuple[tuple[str, str], ...]:
        """(what, words): the question, the sentences on the first scope, and how sure they are."""
        sentences = ((sentence.topic, sentence.words) for sentence in self.sentences)
        return ("Asked", QUESTION), *sentences, *(line for line in self.trust if line[0] in SUMMARISED)

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
        main = next((one.over for one in (inside, outside, contexts) if one.over is not None), None)
        trust = _trust(evidence, main, verdicts, checks, controls)
        return PageAnswer(first, sentences, tuple((what, words) for what, words in trust if words))


def sentence_on(answer: TopicAnswer, evidence: Evidence) -> Sentence:
    """The sentence of a topic: what zero-shot recognises of contexts, the differences, and the verdicts."""
    clauses = [_compared(compared) for compared in answer.compared]
    if answer.moved:
        moves = " and ".join(f"{NAMES[entry]} {_moved(part)}" for entry, part in answer.moved)
        # of contexts, what was lost comes first
        clauses.insert(0 if answer.topic.metric == "context" else len(clauses), f"against zero-shot, {moves}")
    if answer.unmeasured is not None:
        clauses.append(f"not measured: {_why_unmeasured(answer, evidence)}")
    if answer.recognition is not None:
        words = recognition_words(answer.recognition)
        if not answer.recognition.is_above_chance:
            words += ", so fine-tuning has no recognition to lose here"
        clauses.insert(0, words)
    if answer.verdicts:
        clauses.append("claim " + ", ".join(f"{v.claim} {shown_word(v)}" for v in answer.verdicts))
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
        place = f"{abs(100 * effect):.1f} points {'above' if effect > 0 else 'below'} plain fine-tuning"
        words = f"{method} is {place} ({interval})"
    elif compared.equivalence is not None:
        words += f", so no difference above {100 * compared.equivalence:.2g} points is left"
    else:
        words += ", which decides nothing" if math.isnan(part.low) else ", so neither is shown to be better"
    return f"{words}, in doubt: {doubt}" if doubt else words


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
        return f"{'gained' if effect > 0 else 'lost'} {abs(100 * effect):.1f} points ({interval_words(part)})"
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
    over = "searches, seeds" if searches > 1 else "seeds"
    missing = ["other tasks"] * (len(evidence.tasks) > 1) + ["the luck of the search"] * (searches < 2)
    left = ", ".join([*missing, "other models and data"])
    yield "Scope", f"{evidence.name}, here and in the figure." if evidence.others else ""
    yield "Scale", SCALES.get(evidence.scale, evidence.scale)
    yield "Given back", _given_back(evidence)
    yield "Rests on", _size(evidence, main)
    yield "Could it have shown it", _sensitive([asked for asked in controls if asked.scope == evidence.name])
    yield "Search", search_words
    yield "Intervals", f"the brackets are 95 % intervals over {over} and test images. They leave out {left}."
    yield "Null checks", _checked(checks)
    yield "Broken data", " ".join(f"{task}: an image cannot be read." for task in evidence.archive.unreadable)
    yield "Warnings", _warnings(evidence, verdicts)


def _given_back(evidence: Evidence) -> str:
    """What FT forgets out of distribution and the shares that methods give back, as a sentence; empty if nothing."""
    entries = {"CAR-FT": CAR_FT, "random vectors": RANDOM, "WiSE-FT": POSITIVE}
    shares = {name: GivenBack.of(evidence, entry) for name, entry in entries.items()}
    words = []
    for name, share in shares.items():
        if share is not None and share.is_defined:
            words.append(f"{name} {given_back_words(share)}")
    if not words or (lost := forgotten(evidence)) is None:
        return ""
    lost_words = f"out of distribution fine-tuning forgets {100 * lost.estimate.effect:.1f} points"
    return f"{lost_words}, of which come back with {', with '.join(words)}."


def _size(evidence: Evidence, part: Part | None) -> str:
    if part is None or not part.tasks:
        return "no pair of FT and CAR-FT cells yet."
    tasks, wanted, seeds = len(part.tasks), len(evidence.wanted_tasks), part.estimate.n_seeds
    of = f" of {wanted}" if wanted > tasks else ""
    unit = evidence.card(part.tasks[0]).group
    alone = ": no interval" if seeds == 1 else ""
    return (
        f"{tasks}{of} task{'s' * (max(tasks, wanted) > 1)}, {seeds} seed{'s' * (seeds != 1)}{alone}, "
        f"{part.estimate.n_groups:,} test {unit}s."
    )


def _sensitive(asked: Sequence[Asked]) -> str:
    """How many controls held, and what was measured of forgetting and of the positive control."""
    counts = Counter[str](one.answer for one in asked)
    words = {"holds": "hold", "does not hold": "do not hold", "not run": "not run"}
    held = [f"{counts[answer]} {said}" for answer, said in words.items() if counts[answer]]
    shown = [
        f"{one.control.name}: {one.answer}, {100 * one.part.estimate.effect:+.1f} points ({interval_words(one.part)})"
        for one in asked
        if one.part is not None and one.control in (FORGETS, POSITIVE_CONTROL)
    ]
    return "; ".join([f"controls: {', '.join(held)}", *shown]) + "."


def _search(evidence: Evidence) -> tuple[int, str]:
    """(searches that every compared study has at least, the trials of every study and whether anything was tuned).

    Compared are FT and CAR-FT; without those, all trained methods.
    """
    trained = [s for s in evidence.studies if evidence.methods[s.method].kind == "trained"]
    compared = [s for s in trained if s.method in (FT.method, CAR_FT.method)] or trained
    ended: list[int] = []
    for study in compared:
        ended += map(len, evidence.ended_by_search(study.task, study.method))
    searches = min((len(evidence.searches(s.task, s.method)) for s in compared), default=0)
    if not any(ended):
        return searches, "none."
    if max(ended) == 1:
        return searches, "one trial a study. Nothing was tuned: read nothing into the verdicts."
    spent = f"{max(ended)} trials" if min(ended) == max(ended) else f"{min(ended)} to {max(ended)} trials"
    words = f"{spent} in each of {searches} searches a study." if searches > 1 else f"{spent} a study, one search."
    return searches, f"{words} {edge_words(compared, evidence.methods)}".rstrip()


def _checked(checks: Sequence[NullCheck]) -> str:
    """The null checks, counted; the failed ones by name."""
    failed = [check.name for check in failures(checks)]
    if failed:
        return f"FAILED: {'; '.join(failed)}. Nothing is decided about CAR-FT."
    counts = Counter(check.status for check in checks)
    return ", ".join(f"{counts[status]} {status}" for status in ("passed", "not checkable") if counts[status]) + "."


def _warnings(evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """Cautions on verdicts, and departures from the protocol."""
    cautions = [caution_word(caution) for caution in each_once(verdict.cautions for verdict in verdicts)]
    if departed := sum(map(len, evidence.archive.protocol.departures.values())):
        cautions.append(f"{departed} departure{'s' * (departed > 1)} from the protocol")
    return f"{'; '.join(cautions)}." if cautions else ""
