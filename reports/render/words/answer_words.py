"""The answer at the top of a report: three sentences on each scope, and five lines on how far to trust them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.judge.claims.claim import NO_DIFFERENCE, Verdict, each_once
from reports.judge.entry import CAR_FT, FT
from reports.judge.established import FORGETS, POSITIVE_CONTROL, Asked
from reports.judge.evidence import Evidence
from reports.judge.findings import Findings, ScopeFindings
from reports.judge.headlines import Headline, Headlines
from reports.judge.levels import Recognition, unknown_classes
from reports.judge.null_checks import NullCheck, failures
from reports.render.words.verdict_words import doubt_words, interval_words

QUESTION = "Does CAR-FT beat plain fine-tuning, in and out of distribution?"
SCALES = {
    "miniature": "miniature: drawings and a tiny CLIP. No evidence for or against the paper's numbers.",
    "paper": "paper: the data sets of the paper.",
    "own": "own: your images. No evidence for or against the paper's numbers.",
}


@dataclass(frozen=True)
class Sentence:
    """One sentence of the answer."""

    topic: str
    """What it is about: context recognition, or accuracy in or out of distribution."""
    words: str
    """A whole sentence; one more for each method of one's own."""
    decided: Sequence[Verdict] = ()
    """The verdicts on it."""

    @property
    def text(self) -> str:
        """The sentence after what it is about."""
        return f"{self.topic}: {self.words}"


@dataclass(frozen=True)
class PageAnswer:
    """What came out, and how far to trust it."""

    question: str
    sentences: Sequence[Sentence]
    """The three on the scope that is reported first."""
    others: Mapping[str, Sequence[Sentence]]
    """Further scope that something was decided in -> the three sentences on it."""
    trust: Sequence[tuple[str, str]]
    """(what, words) of five lines."""

    @property
    def summary(self) -> list[tuple[str, str]]:
        """(what, words): the question, the sentences on the first scope, and how far to trust them."""
        told = [(sentence.topic, sentence.words) for sentence in self.sentences]
        return [("Asked", self.question), *told, *self.trust]

    @staticmethod
    def of(findings: Findings) -> PageAnswer:
        """The answer of a results folder."""
        evidence, verdicts = findings.evidence, findings.verdicts
        told = {evidence.name, *(verdict.scope for verdict in verdicts if not verdict.missing)}
        sentences = {}
        for found in findings.scopes:
            if found.view.name in told:
                sentences[found.view.name] = [sentence_on(each, found.view) for each in found.headlines]
        first = sentences.pop(evidence.name)
        return PageAnswer(QUESTION, first, sentences, _trust(findings))


def sentence_on(found: Headlines, evidence: Evidence) -> Sentence:
    """The sentence of a topic on a scope."""
    topic = found.topic
    if not found.can_be_asked:
        return Sentence(topic.title, f"This was not measured: {topic.lacking}.")
    told = [f"{headline.label} {_compared(headline)}." for headline in found.stated]
    if not told:
        waiting = "This was not measured: fine-tuned cells were not evaluated yet."
        if all(study.grid for study in evidence.studies):
            waiting = "Nothing was tuned: the table equal_settings compares single settings."
        return Sentence(topic.title, waiting)
    return Sentence(topic.title, " ".join(told), found.decided)


def _compared(headline: Headline) -> str:
    """How a method compares with plain fine-tuning. A direction is named where the verdict has one."""
    part = headline.part
    if math.isnan(part.estimate.effect):
        reason = doubt_words(part.unequal, part.flaws) or "they were not evaluated on the same images"
        return f"and plain fine-tuning cannot be compared: {reason}"
    if headline.in_doubt:
        return f"{_not_shown(headline)}, but the evidence is in doubt"
    if headline.direction == "open":
        return _not_shown(headline) + _margin_words(headline)
    words = _decided(headline) + _margin_words(headline)
    return f"{words}, on one search" if headline.suggested else words


def _not_shown(headline: Headline) -> str:
    """That nothing is decided, with the differences that the verdict rests on."""
    part, shown = headline.part, headline.shown
    missing = f" ({interval_words(part)})" if math.isnan(part.low) else ""
    to_ft = f"{100 * part.estimate.effect:+.1f} points"
    if shown is not part and not missing:
        to_zero_shot = f"{100 * shown.estimate.effect:+.1f} to zero-shot"
        return f"is not shown to keep contexts: {to_ft} to plain fine-tuning, {to_zero_shot}"
    return f"is not shown to differ from plain fine-tuning: {to_ft}{missing}"


def _decided(headline: Headline) -> str:
    """What was decided, with the size of the part that it rests on."""
    if headline.direction == NO_DIFFERENCE:
        return f"differs from plain fine-tuning by less than {100 * (headline.equivalence or 0):.2g} points"
    part, rival = headline.part, "plain fine-tuning"
    if headline.direction == "against" and headline.shown is not part:
        part, rival = headline.shown, "zero-shot, beyond the margin"
    effect = 100 * part.estimate.effect
    size = f"{abs(effect):.1f} points"
    if headline.topic.metric == "context":
        return f"recognises {size} {'more' if effect > 0 else 'fewer'} contexts than {rival}"
    return f"is {size} {'more' if effect > 0 else 'less'} accurate than {rival}"


def _margin_words(headline: Headline) -> str:
    """Whether it is no worse by the margin that a claim allows; empty where that adds nothing."""
    margin = headline.margin
    if margin is None or margin.flag or headline.direction in ("for", NO_DIFFERENCE):
        return ""
    points = f"{abs(margin.asked.margin_points):g} points"
    words = {"for": f", and no worse by the margin of {points}", "against": f", and worse by more than {points}"}
    return words.get(margin.direction, "")


def _trust(findings: Findings) -> list[tuple[str, str]]:
    """(what, words) of five lines."""
    evidence = findings.evidence
    compared = [study for study in evidence.studies if study.method in (FT.method, CAR_FT.method)]
    searches = min((len(evidence.searches(study.task, study.method)) for study in compared), default=0)
    trials = [len(evidence.finished_trials(study)) for study in compared] or [0]
    searched = f"{min(trials)} trials"
    if max(trials) > min(trials):
        searched = f"{min(trials)} to {max(trials)} trials"
    if searches > 1:
        searched += f" in each of {searches} searches"
        over, luck = "searches, seeds", ""
    else:
        searched += " in one search"
        over, luck = "seeds", ", and the luck of the search"
    warnings = list(_warnings(evidence, findings.verdicts, findings.checks))
    if max(trials) == 1:
        warnings.append("One trial a study: nothing was tuned.")
    return [
        ("Scale", SCALES.get(evidence.scale, evidence.scale)),
        ("Rests on", f"{evidence.name}: {_size(findings.scopes[0])}; {searched} of a study."),
        ("Could it have shown it", _controls([asked for asked in findings.controls if asked.scope == evidence.name])),
        ("Intervals", f"95 %, over {over} and test images. They leave out other tasks, models and data{luck}."),
        ("Warnings", " ".join(filter(None, warnings)) or "none."),
    ]


def _size(found: ScopeFindings) -> str:
    """What CAR-FT minus FT rests on, in distribution if that was measured."""
    evidence, (contexts, *accuracies) = found.view, found.headlines
    for each in (*accuracies, contexts):
        part = each.car_ft
        if part is not None and part.tasks:
            n_seeds, unit = part.estimate.n_seeds, evidence.card(part.tasks[0]).group
            tasks = f"{len(part.tasks)} of {len(evidence.wanted_tasks)} tasks"
            return f"{tasks}, {n_seeds} seed{'s' * (n_seeds != 1)}, {part.estimate.n_groups:,} test {unit}s"
    return "no pair of FT and CAR-FT cells yet"


def _controls(asked: Sequence[Asked]) -> str:
    """How many controls held, what fine-tuning forgets, and what the positive control gains."""
    counts = Counter[str](one.answer for one in asked)
    clauses = [f"{counts['holds']} of {len(asked)} controls hold, {counts['not run']} were not run"]
    for one in asked:
        if one.part is not None and one.control in (FORGETS, POSITIVE_CONTROL):
            clauses.append(f"{one.control.name}: {one.answer}, {100 * one.part.estimate.effect:+.1f} points")
    return "; ".join(clauses) + "."


def _warnings(evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]) -> Iterator[str]:
    """Sentences on what speaks against the whole report, the worst first."""
    failed = [check.name for check in failures(checks)]
    if failed:
        yield f"A null check FAILED ({'; '.join(failed)}): nothing is decided about CAR-FT."
    yield unknown_classes(Recognition.of(evidence, "top1"))
    for task in evidence.folder.unreadable:
        yield f"{task}: an image cannot be read."
    cautions: list[str] = []
    for verdict in verdicts:
        cautions += verdict.cautions
    for caution in each_once(cautions):
        yield f"{caution[0].upper()}{caution[1:]}."
    departed = sum(len(of_study) for of_study in evidence.broken.values())
    if departed:
        yield f"{departed} departure{'s' * (departed > 1)} from the protocol."
