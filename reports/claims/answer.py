"""The answer at the top of a report: three sentences on each scope, and how far to trust those on the first.

The sentences follow from the evidence and tell differences in points with 95 % intervals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carft.core.errors import first_of
from carft.store.study import StudyFile, edge_words, narrow_ranges
from reports.analysis.contrasts import Contrast, Part, Sets, every_set, every_suite, id_test, pool
from reports.analysis.equal_settings import differences_by_setting, evaluated_cells
from reports.analysis.established import FORGETS, POSITIVE_CONTROL, Asked, ControlAnswer
from reports.analysis.forgetting import POSITIVE, GivenBack, equivalence_of, forgotten
from reports.analysis.levels import ContextRecognition
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.claim import Verdict
from reports.claims.notes import doubt_of
from reports.claims.rules import ledger
from reports.claims.verdicts import NEEDS
from reports.evidence.evidence import CAR_FT, FT, RANDOM, ZERO_SHOT, Entry, Evidence

QUESTION = "Does CAR-FT beat plain fine-tuning, in and out of distribution?"
#: what of the box says how sure the summary is, in this order
LIMITS = ("Rests on", "Search", "Scale", "Warnings")
#: a gain over zero-shot below this, a share of 1, counts as learning little
LITTLE = 0.01


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
    at_equal_settings: str
    """Where the table of equal settings measures it."""


CONTEXTS = "contexts of the suites"
TOPICS = (
    Topic("Context recognition", "context", every_set, "contexts", "no image here has a known context", CONTEXTS),
    Topic("In distribution", "top1", id_test, "test", "these tasks have no test set in distribution", "ID test"),
    Topic("Out of distribution", "top1", every_suite, "suites", "these tasks have no shifted sets", "mean OOD"),
)


@dataclass(frozen=True)
class Sentence:
    """One sentence of the answer."""

    topic: str
    """What it is about: context recognition, or accuracy in or out of distribution."""
    words: str
    """The rest of the sentence."""
    finding: str
    """How CAR-FT compares with plain fine-tuning, in a few words."""
    size: str
    """The difference in points with its interval; empty without one."""
    over: Part | None = None
    """CAR-FT minus FT; None where a side was not evaluated."""
    tuned: Part | None = None
    """FT minus zero-shot; None where a side was not evaluated."""

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.topic}: {self.words}"


def sentence_on(topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]) -> Sentence:
    """The sentence of a topic: what zero-shot recognises of contexts, the differences, and the verdicts."""
    is_asked = bool(evidence.tasks) and NEEDS[topic.needs](evidence)

    def difference(first: Entry, second: Entry) -> Part | None:
        contrast = Contrast(first, second, topic.metric, topic.sets)
        return pool(evidence, contrast, topic.title) if is_asked else None

    tuned, kept, over = difference(FT, ZERO_SHOT), difference(CAR_FT, ZERO_SHOT), difference(CAR_FT, FT)
    named = {claim.id for claim in ledger().values() if claim.topic == topic.title}
    decided = [v for v in verdicts if v.claim in named and v.scope == evidence.name and not v.missing]
    finding, size, between = "not measured", "", ""
    if over is not None:
        unequal = part_doubt(over) if over.unequal else ""
        doubt = _doubt(evidence, checks) or unequal or next(filter(None, map(doubt_of, decided)), "")
        finding, size, between = _compared("CAR-FT", over, equivalence_of(evidence, topic.needs, [over]), doubt)
    sides = [("plain fine-tuning", tuned), ("CAR-FT", kept)]
    moves = [f"{name} {_moved(part)}" for name, part in sides if part is not None]
    against = f"against zero-shot, {' and '.join(moves)}" if moves else ""
    order = (against, between) if topic.metric == "context" else (between, against)
    clauses = [clause for clause in order if clause]
    if not clauses:
        waiting = is_asked or not evidence.tasks
        missing = _what_is_missing(evidence) if waiting else topic.lacking
        clauses.append(_shown_by_grid(topic, evidence) or f"not measured: {missing}")
    if topic.metric == "context" and (recognition := ContextRecognition.of(evidence)) is not None:
        little = "" if recognition.is_above_chance else ", so fine-tuning has no recognition to lose here"
        clauses.insert(0, f"{recognition.words}{little}")
    for name in dict.fromkeys(study.method for study in evidence.studies if study.plugin):
        if (part := difference(Entry(name), FT)) is not None:
            margin = equivalence_of(evidence, topic.needs, [part])
            doubt = _doubt(evidence, (), name) or part_doubt(part)
            clauses.append(_compared(evidence.methods[name].label, part, margin, doubt)[2])
    if decided and over is not None:
        clauses.append("claim " + ", ".join(f"{v.claim} {v.shown_word}" for v in decided))
    return Sentence(topic.title, "; ".join(clauses) + ".", finding, size, over, tuned)


def _compared(method: str, part: Part, equivalence: float | None, doubt: str) -> tuple[str, str, str]:
    """How a method compares with plain fine-tuning: in a few words, its size in points, and as half a sentence.

    equivalence: the margin that the whole interval lies within, a share of 1; None where it does not. doubt: which
    evidence is missing or in doubt, as half a sentence. Without a difference the size is empty.
    """
    effect, interval = part.estimate.effect, interval_words(part)
    if math.isnan(effect):
        why = doubt or "they differ in more than the method"
        return "cannot be compared", "", f"{method} and plain fine-tuning cannot be compared, since {why}"
    size = f"{100 * effect:+.1f} points ({interval})"
    words = f"{method} minus plain fine-tuning is {size}"
    if part.low > 0 or part.high < 0:
        finding = f"{method} is {'better' if effect > 0 else 'worse'}"
        place = f"{abs(100 * effect):.1f} points {'above' if effect > 0 else 'below'} plain fine-tuning"
        words = f"{method} is {place} ({interval})"
    elif equivalence is not None:
        finding = f"no difference above {100 * equivalence:.2g} points"
        words += f", so {finding} is left"
    else:
        finding = "neither is shown to be better"
        words += ", which decides nothing" if math.isnan(part.low) else f", so {finding}"
    return ("in doubt", size, f"{words}, in doubt: {doubt}") if doubt else (finding, size, words)


def _doubt(evidence: Evidence, checks: Sequence[NullCheck], method: str = CAR_FT.method) -> str:
    """What puts every comparison of a method with FT in doubt, as in the verdicts; mostly empty."""
    if failures(checks):
        return "a null check failed"
    searched = [study for study in evidence.studies if study.method in (FT.method, method)]
    return "too many winners lie at the edge of their search range" if narrow_ranges(searched) else ""


def _shown_by_grid(topic: Topic, evidence: Evidence) -> str:
    """What a folder without a search shows: CAR-FT minus FT over the settings of its grid; empty for other folders."""
    if not evidence.studies or not all(study.grid for study in evidence.studies):
        return ""
    table = differences_by_setting(evaluated_cells(evidence), evidence.methods)
    rows = table[(table["contrast"] == "CAR-FT - FT") & (table["where"] == topic.at_equal_settings)]
    if rows.empty:
        return ""
    low, high = (f"{100 * bound:+.1f}" for bound in (rows["effect"].min(), rows["effect"].max()))
    above, below = (rows["band_low"] > 0).sum(), (rows["band_high"] < 0).sum()
    return (
        f"at {len(rows)} equal setting{'s' * (len(rows) > 1)}, not tuned, CAR-FT minus plain fine-tuning is "
        f"{low if low == high else f'{low} to {high}'} points (bands over all settings: {above} above 0, {below} below "
        "0), which decides no claim"
    )


def _what_is_missing(evidence: Evidence) -> str:
    """Why fine-tuned cells were not evaluated: images that cannot be read, or nothing yet."""
    unreadable = evidence.archive.unreadable
    broken = [task for task in evidence.tasks or unreadable if task in unreadable]
    return f"the data of {first_of(broken, 3)} are broken" if broken else "fine-tuned cells were not evaluated yet"


def _moved(part: Part) -> str:
    effect = part.estimate.effect
    if math.isnan(effect):
        return "cannot be compared"
    size = f"{abs(100 * effect):.1f} points ({interval_words(part)})"
    if part.low > 0 or part.high < 0:
        return f"{'gained' if effect > 0 else 'lost'} {size}"
    return f"moved by {100 * effect:+.1f} ({interval_words(part)})"


def part_doubt(part: Part) -> str:
    """What puts a difference that belongs to no claim in doubt, as half a sentence; mostly empty."""
    return "the two sides differ in more than the method" if part.unequal else next(iter(part.flaws), "")


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
            view.name: tuple(sentence_on(topic, view, verdicts, checks) for topic in TOPICS)
            for view in evidence.views()
            if view.name in {evidence.name, *decided}
        }
        first = sentences.pop(evidence.name)
        scope = evidence.name if evidence.others else ""
        trust = _trust(evidence, first, verdicts, checks, controls)
        return PageAnswer(first, sentences, trust, scope, _forgetting(evidence))


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
    sentences: Sequence[Sentence],
    verdicts: Sequence[Verdict],
    checks: Sequence[NullCheck],
    controls: Sequence[Asked],
) -> tuple[tuple[str, str], ...]:
    contexts, inside, outside = sentences
    main = next((one.over for one in (inside, outside, contexts) if one.over is not None), None)
    several = _searches(evidence) > 1
    over = "searches, seeds" if several else "seeds"
    missing = ["other tasks"] * (len(evidence.tasks) > 1) + ["the luck of the search"] * (not several)
    left = ", ".join([*missing, "other models and data"])
    unreadable = [f"{task}: {why}" for task, why in evidence.archive.unreadable.items()]
    lines = [
        ("Scope", f"{evidence.name}, here and in the figure." if evidence.others else ""),
        ("Scale", SCALES.get(evidence.scale, evidence.scale)),
        ("Rests on", _size(evidence, main)),
        ("Could it have shown it", _sensitive([asked for asked in controls if asked.scope == evidence.name])),
        ("Fine-tuning itself", _learned(inside if inside.tuned is not None else outside)),
        ("Search", _search(evidence)),
        ("Intervals", f"the brackets are 95 % intervals over {over} and test images. They leave out {left}."),
        ("Null checks", _checked(checks)),
        ("Broken data", " ".join(unreadable)),
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


def _learned(sentence: Sentence) -> str:
    """What plain fine-tuning gained over zero-shot, and whether that is little."""
    part = sentence.tuned
    if part is None or math.isnan(part.estimate.effect):
        return "not measured against zero-shot."
    gained = (
        f"{100 * part.estimate.effect:+.1f} points over zero-shot {sentence.topic.lower()} ({interval_words(part)})"
    )
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


def _searched(evidence: Evidence) -> list[StudyFile]:
    """The studies of FT and CAR-FT, which the answer compares; without those, of every trained method."""
    trained = [s for s in evidence.studies if evidence.methods[s.method].kind == "trained"]
    return [s for s in trained if s.method in (FT.method, CAR_FT.method)] or trained


def _searches(evidence: Evidence) -> int:
    """Independent searches that every study of what the answer compares has at least."""
    return min((len(evidence.searches(s.task, s.method)) for s in _searched(evidence)), default=0)


def _search(evidence: Evidence) -> str:
    """Trials of every study, and whether anything was tuned."""
    ended = [n for s in _searched(evidence) for n in evidence.ended_by_search(s.task, s.method)]
    if not ended:
        return "none."
    low, high, searches = min(ended), max(ended), _searches(evidence)
    if high <= 1:
        return "one trial a study. Nothing was tuned: read nothing into the verdicts."
    spent = f"{high} trials" if low == high else f"{low} to {high} trials"
    words = f"{spent} in each of {searches} searches a study." if searches > 1 else f"{spent} a study, one search."
    return f"{words} {edge_words(_searched(evidence), evidence.methods)}".rstrip()


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
