"""The answer at the top of a report: the sentences on each scope, and how far to trust those on the first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carft.store.study import StudyFile, edge_words
from reports.analysis.contrasts import Part
from reports.analysis.established import FORGETS, POSITIVE_CONTROL, Asked, ControlAnswer
from reports.analysis.forgetting import POSITIVE, GivenBack, forgotten
from reports.analysis.levels import ContextRecognition
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.claim import Verdict
from reports.claims.sentences import TOPICS, Measured, Sentence, interval_words, sentence_on
from reports.evidence.evidence import CAR_FT, FT, RANDOM, Evidence

QUESTION = "Does CAR-FT beat plain fine-tuning, in and out of distribution?"
#: what of the box says how sure the summary is, in this order
LIMITS = ("Rests on", "Search", "Scale", "Warnings")
#: a gain over zero-shot below this, a share of 1, counts as learning little
LITTLE = 0.01
#: sets under shift that the box names at most
FEW = 4


@dataclass(frozen=True)
class PageAnswer:
    """What came out, and how far to trust it."""

    sentences: tuple[Sentence, ...]
    """Three on the scope that is reported first, in the order of ``TOPICS``."""
    others: Mapping[str, tuple[Sentence, ...]]
    """Further scope that something was decided in -> the three sentences on it."""
    trust: tuple[tuple[str, str], ...]
    """(what, words) of everything that limits the sentences."""
    scope: str = ""
    """The scope that is reported first, where there are several."""
    forgetting: str = ""
    """What fine-tuning forgets there out of distribution, and what is given back; empty if nothing."""

    @property
    def summary(self) -> tuple[tuple[str, str], ...]:
        """(what, words): the question, what was found on the first scope, by how much, and how sure that is."""
        trust = {what: words for what, words in self.trust if what in LIMITS}
        limits = [f"{what} {trust[what]}" if what == "Scale" else trust[what] for what in LIMITS if what in trust]
        where = f"on {self.scope}: " if self.scope else ""
        sizes = [f"{s.topic.lower()} {s.size}" for s in self.sentences if s.size]
        return (
            ("Asked", QUESTION),
            ("Found", where + "; ".join(f"{s.topic.lower()}: {s.finding}" for s in self.sentences) + "."),
            ("By how much", where + ("; ".join(sizes) + "." if sizes else "not measured.")),
            *([("Given back", where + self.forgetting)] if self.forgetting else []),
            ("How sure", " ".join(limits)),
        )

    @staticmethod
    def of(
        evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck], controls: Sequence[Asked]
    ) -> PageAnswer:
        """The answer of a results folder.

        verdicts and controls: of all scopes. checks: the null checks of the folder.
        """
        decided = {v.scope for v in verdicts if not v.missing}
        sentences = {
            view.name: tuple(sentence_on(Measured.of(topic, view), view, verdicts, checks) for topic in TOPICS)
            for view in evidence.views()
            if view.name in {evidence.name, *decided}
        }
        first = sentences.pop(evidence.name)
        scope = evidence.name if evidence.others else ""
        return PageAnswer(first, sentences, _trust(evidence, verdicts, checks, controls), scope, _forgetting(evidence))


def _forgetting(evidence: Evidence) -> str:
    """What FT forgets out of distribution and the shares that methods give back, as a sentence; empty if nothing."""
    entries = {"CAR-FT": CAR_FT, "random vectors": RANDOM, "WiSE-FT": POSITIVE}
    found = {name: GivenBack.of(evidence, entry) for name, entry in entries.items()}
    shares = [f"{name} {back.words}" for name, back in found.items() if back is not None and back.is_defined]
    if not shares or (lost := forgotten(evidence)) is None:
        return ""
    lost_words = f"out of distribution fine-tuning forgets {100 * lost.estimate.effect:.1f} points"
    return f"{lost_words}, of which come back with {', with '.join(shares)}."


SCALES = {
    "miniature": "miniature: drawings and a tiny CLIP. No evidence for or against the paper's numbers.",
    "paper": "paper: the data sets of the paper.",
    "own": "own: your images. No evidence for or against the paper's numbers.",
}


def _trust(
    evidence: Evidence,
    verdicts: Sequence[Verdict],
    checks: Sequence[NullCheck],
    controls: Sequence[Asked],
) -> tuple[tuple[str, str], ...]:
    contexts, inside, outside = (Measured.of(topic, evidence) for topic in TOPICS)
    main = next((one for one in (inside, outside, contexts) if one.over is not None), inside)
    lines = [
        ("Scope", f"{evidence.name}, here and in the figure." if evidence.others else ""),
        ("Scale", SCALES.get(evidence.scale, evidence.scale)),
        ("Rests on", _size(evidence, main.over)),
        ("Held out", _held_out(evidence)),
        ("Contexts", _recognised(evidence)),
        ("Could it have shown it", _sensitive([asked for asked in controls if asked.scope == evidence.name])),
        ("Fine-tuning itself", _learned(inside if inside.tuned is not None else outside)),
        ("Search", _search(evidence)),
        ("Intervals", _left_out(evidence)),
        ("Null checks", _checked(checks)),
        (
            "Broken data",
            " ".join(f"{task}: {why}" for task, why in evidence.archive.unreadable.items()),
        ),
        ("Warnings", _warnings(evidence, verdicts)),
    ]
    return tuple((what, words) for what, words in lines if words)


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


def _held_out(evidence: Evidence) -> str:
    """The groups of each set under shift, on your own data: a domain with few of them decides nothing."""
    if evidence.scale != "own":
        return ""
    counts: Counter[str] = Counter()
    for task in evidence.tasks:
        cells = evidence.cells(task, FT) or evidence.cells(task, CAR_FT)
        for name in evidence.suites(task) if cells else ():
            counts[name.removeprefix("ood/")] += len(evidence.outcome(cells[0], name).frame.group_names)
    named = [f"{name}, {count:,} groups" for name, count in counts.most_common(FEW)]
    more = f"; and {len(counts) - FEW} more" if len(counts) > FEW else ""
    return f"{'; '.join(named)}{more}." if named else ""


def _learned(found: Measured) -> str:
    """What plain fine-tuning gained over zero-shot, and whether that is little."""
    part = found.tuned
    if part is None or math.isnan(part.estimate.effect):
        return "not measured against zero-shot."
    where = found.topic.title.lower()
    gained = f"{100 * part.estimate.effect:+.1f} points over zero-shot {where} ({interval_words(part)})"
    little = part.estimate.effect < LITTLE or not part.low > 0
    return f"{gained}. It learned little here, so little can tell the methods apart." if little else f"{gained}."


def _sensitive(asked: Sequence[Asked]) -> str:
    """What fine-tuning forgot, whether the positive control showed, and how many controls held."""
    by_control = {found.control: found for found in asked}
    forgets, positive = by_control.get(FORGETS), by_control.get(POSITIVE_CONTROL)
    if forgets is None or forgets.part is None:
        return "not measured: zero-shot and plain fine-tuning were not both evaluated out of distribution."
    part = forgets.part
    lost = f"out of distribution zero-shot − fine-tuning is {100 * part.estimate.effect:+.1f} points"
    lost += f" ({interval_words(part)}): " + ("something is forgotten" if part.low > 0 else "no forgetting is shown")
    shown = "; the positive control was not run"
    if positive is not None and positive.part is not None:
        gain = f"{100 * positive.part.estimate.effect:+.1f} ({interval_words(positive.part)})"
        shown = f"; the positive control, {positive.control.name}, {positive.answer}: {gain}"
    counts = Counter(found.answer for found in asked)
    words: Mapping[ControlAnswer, str] = {"holds": "hold", "does not hold": "do not hold", "not run": "not run"}
    return f"{lost}{shown}. Controls: " + (
        ", ".join(f"{counts[answer]} {said}" for answer, said in words.items() if counts[answer]) + "."
    )


def _recognised(evidence: Evidence) -> str:
    """What zero-shot recognises of contexts, beside chance; empty where none is known."""
    recognition = ContextRecognition.of(evidence)
    if recognition is None:
        return ""
    little = "" if recognition.is_above_chance else " Fine-tuning has no recognition to lose here."
    return f"{recognition.words}.{little}"


def _search(evidence: Evidence) -> str:
    """Trials of every study, and whether anything was tuned."""
    ended = [n for s in _searched(evidence) for n in evidence.ended_by_search(s.task, s.method)]
    if not ended:
        return "none."
    low, high = min(ended), max(ended)
    if high <= 1:
        return "one trial a study. Nothing was tuned: read nothing into the verdicts."
    searches = _searches(evidence)
    spent = f"{high} trials" if low == high else f"{low} to {high} trials"
    words = f"{spent} in each of {searches} searches a study." if searches > 1 else f"{spent} a study, one search."
    return f"{words} {edge_words(_searched(evidence), evidence.methods)}".rstrip()


def _searches(evidence: Evidence) -> int:
    """Independent searches that every study of what the answer compares has at least."""
    return min((len(evidence.searches(s.task, s.method)) for s in _searched(evidence)), default=0)


def _searched(evidence: Evidence) -> list[StudyFile]:
    """The studies of FT and CAR-FT, which the answer compares; without those, of every trained method."""
    trained = [s for s in evidence.studies if evidence.methods[s.method].kind == "trained"]
    return [s for s in trained if s.method in (FT.method, CAR_FT.method)] or trained


def _left_out(evidence: Evidence) -> str:
    """What the intervals cover, and what they leave out."""
    missing = ["other tasks"] if len(evidence.tasks) > 1 else []
    several = _searches(evidence) > 1
    missing += [] if several else ["the luck of the search"]
    left, over = ", ".join([*missing, "other models and data"]), "searches, seeds" if several else "seeds"
    return f"the brackets are 95 % intervals over {over} and test images. They leave out {left}."


def _checked(checks: Sequence[NullCheck]) -> str:
    """The null checks, counted; the failed ones by name."""
    if not checks:
        return ""
    failed = [check.name for check in failures(checks)]
    if failed:
        return f"FAILED: {'; '.join(failed)}. Nothing is decided about CAR-FT."
    counts = Counter(check.status for check in checks)
    return ", ".join(f"{counts[status]} {status}" for status in ("passed", "not checkable") if counts[status]) + "."


def _warnings(evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """Cautions on verdicts, and departures from the protocol."""
    cautions = list(dict.fromkeys(words for v in verdicts if v.caution for words in v.caution.split("; ")))
    departed = len(evidence.archive.protocol.departures) + len(evidence.archive.protocol.elsewhere)
    if departed:
        cautions.append(f"{departed} departure{'s' * (departed > 1)} from the protocol")
    return f"{'; '.join(cautions)}." if cautions else ""
