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
from reports.analysis.contrasts import Contrast, Part, Sets, every_set, every_suite, id_test, pool
from reports.analysis.established import FORGETS, POSITIVE_CONTROL, Asked
from reports.analysis.forgetting import POSITIVE, GivenBack, equivalence_of, forgotten
from reports.analysis.levels import ContextRecognition
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.claim import Verdict
from reports.claims.ledger import ledger
from reports.claims.notes import doubt_words
from reports.claims.verdicts import can_be_asked, doubts
from reports.evidence.evidence import CAR_FT, FT, RANDOM, ZERO_SHOT, Entry, Evidence
from reports.words.controls import given_back_words
from reports.words.levels import recognition_words

QUESTION = "Does CAR-FT beat plain fine-tuning, in and out of distribution?"
#: what of the box a terminal shows below the sentences
SUMMARISED = ("Scope", "Given back", "Rests on", "Search", "Scale", "Warnings")


@dataclass(frozen=True)
class Topic:
    """What a sentence is about."""

    title: str
    metric: str
    sets: Sets
    needs: str
    """What a scope must have, as in the ledger."""
    lacking: str
    """Why there is no number where the scope does not have it."""


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
    over: Part | None
    """CAR-FT minus FT; None where a side was not evaluated."""

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.topic}: {self.words}"


def sentence_on(topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]) -> Sentence:
    """The sentence of a topic: what zero-shot recognises of contexts, the differences, and the verdicts."""
    is_asked = can_be_asked(topic.needs, evidence)

    def difference(first: Entry, second: Entry) -> Part | None:
        contrast = Contrast(first, second, topic.metric, topic.sets)
        return pool(evidence, contrast, topic.title) if is_asked else None

    sides = [("plain fine-tuning", difference(FT, ZERO_SHOT)), ("CAR-FT", difference(CAR_FT, ZERO_SHOT))]
    moved = " and ".join(f"{name} {_moved(part)}" for name, part in sides if part is not None)
    moves = [f"against zero-shot, {moved}"] if moved else []
    named = {claim.id for claim in ledger().values() if claim.topic == topic.title}
    decided = [v for v in verdicts if v.claim in named and v.scope == evidence.name and not v.missing]
    own = [Entry(study.method) for study in evidence.studies if study.plugin]
    over = {entry: part for entry in dict.fromkeys([CAR_FT, *own]) if (part := difference(entry, FT)) is not None}
    compared = []
    for entry, part in over.items():
        beside = decided if entry == CAR_FT else []
        damage = [*doubts(evidence, part.cells, failures(checks)), *(text for v in beside for text in v.damage)]
        unequal = [*part.unequal, *(text for v in beside for text in v.unequal)]
        doubt = doubt_words(unequal, list(dict.fromkeys([*damage, *part.flaws])))
        equivalence = equivalence_of(evidence, topic.needs, [part])
        compared.append(_compared(evidence.methods[entry.method].label, part, equivalence, doubt))
    clauses = [*moves, *compared] if topic.metric == "context" else [*compared, *moves]
    if not clauses:
        clauses.append(f"not measured: {_what_is_missing(evidence) if is_asked else topic.lacking}")
    if topic.metric == "context" and (recognition := ContextRecognition.of(evidence)) is not None:
        little = "" if recognition.is_above_chance else ", so fine-tuning has no recognition to lose here"
        clauses.insert(0, f"{recognition_words(recognition)}{little}")
    if decided and CAR_FT in over:
        clauses.append("claim " + ", ".join(f"{v.claim} {v.shown_word}" for v in decided))
    return Sentence(topic.title, "; ".join(clauses) + ".", over.get(CAR_FT))


def _compared(method: str, part: Part, equivalence: float | None, doubt: str) -> str:
    """How a method compares with plain fine-tuning, as half a sentence.

    equivalence: the margin that the whole interval lies within, a share of 1; None where it does not. doubt: which
    evidence is missing or in doubt, as half a sentence.
    """
    effect, interval = part.estimate.effect, interval_words(part)
    if math.isnan(effect):
        why = doubt or "they differ in more than the method"
        return f"{method} and plain fine-tuning cannot be compared, since {why}"
    words = f"{method} minus plain fine-tuning is {100 * effect:+.1f} points ({interval})"
    if part.low > 0 or part.high < 0:
        place = f"{abs(100 * effect):.1f} points {'above' if effect > 0 else 'below'} plain fine-tuning"
        words = f"{method} is {place} ({interval})"
    elif equivalence is not None:
        words += f", so no difference above {100 * equivalence:.2g} points is left"
    else:
        words += ", which decides nothing" if math.isnan(part.low) else ", so neither is shown to be better"
    return f"{words}, in doubt: {doubt}" if doubt else words


def _what_is_missing(evidence: Evidence) -> str:
    """Why fine-tuned cells were not evaluated: no search, images that cannot be read, or nothing yet."""
    if all(study.grid for study in evidence.studies):
        return "nothing was tuned; the table equal_settings compares single settings"
    broken = [task for task in evidence.tasks if task in evidence.archive.unreadable]
    return f"the data of {first_of(broken, 3)} are broken" if broken else "fine-tuned cells were not evaluated yet"


def _moved(part: Part) -> str:
    effect = part.estimate.effect
    if math.isnan(effect):
        return "cannot be compared"
    if part.low > 0 or part.high < 0:
        return f"{'gained' if effect > 0 else 'lost'} {abs(100 * effect):.1f} points ({interval_words(part)})"
    return f"moved by {100 * effect:+.1f} ({interval_words(part)})"


def interval_words(part: Part) -> str:
    """The interval in points; why there is none where it cannot be computed."""
    if math.isnan(part.low):
        sources = part.estimate.sources_without_variance
        reason = "one seed, " if "seeds" in sources else "one group in a set, " if "groups" in sources else ""
        return f"{reason}no interval"
    return f"{100 * part.low:+.1f} to {100 * part.high:+.1f}"


@dataclass(frozen=True)
class PageAnswer:
    """What came out, and how far to trust it."""

    sentences: tuple[Sentence, ...]
    """Three on the scope that is reported first, in the order of ``TOPICS``."""
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
        decided = {v.scope for v in verdicts if not v.missing}
        sentences = {
            view.name: tuple(sentence_on(topic, view, verdicts, checks) for topic in TOPICS)
            for view in evidence.views()
            if view.name in {evidence.name, *decided}
        }
        first = sentences.pop(evidence.name)
        _, inside, outside = first
        main = next((one.over for one in (inside, outside, first[0]) if one.over is not None), None)
        trust = _trust(evidence, main, verdicts, checks, controls)
        return PageAnswer(first, sentences, tuple((what, words) for what, words in trust if words))


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
    words = [
        f"{name} {given_back_words(share)}" for name, share in shares.items() if share is not None and share.is_defined
    ]
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
    cautions = list(dict.fromkeys(words for v in verdicts if v.caution for words in v.caution.split("; ")))
    if departed := sum(map(len, evidence.archive.protocol.departures.values())):
        cautions.append(f"{departed} departure{'s' * (departed > 1)} from the protocol")
    return f"{'; '.join(cautions)}." if cautions else ""
