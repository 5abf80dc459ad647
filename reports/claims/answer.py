"""The answer at the top of a report: three sentences on each scope, and how far to trust those on the first.

Both follow from the evidence. The sentences tell differences in points with 95 % intervals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from carft.store.study import StudyFile, edge_words, narrow_ranges
from reports.analysis.contrasts import Contrast, Part, Sets, every_set, every_suite, id_test, pool
from reports.analysis.controls import POSITIVE, equivalence_of
from reports.analysis.equal_settings import differences_by_setting, evaluated_cells
from reports.analysis.established import FORGETS, POSITIVE_CONTROL, Asked, ControlAnswer
from reports.analysis.forgetting import GivenBack, forgotten
from reports.analysis.levels import ContextRecognition
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.notes import doubt_of
from reports.claims.rules import Verdict, ledger
from reports.claims.verdicts import NEEDS
from reports.evidence.evidence import CAR_FT, FT, ZERO_SHOT, Entry, Evidence

QUESTION = "Does CAR-FT beat plain fine-tuning, in and out of distribution?"
#: what of the box says how sure the summary is, in this order
LIMITS = ("Rests on", "Search", "Scale", "Warnings")
#: a gain over zero-shot below this, a share of 1, counts as learning little
LITTLE = 0.01
#: sets under shift that the box names at most
FEW = 4


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

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.topic}: {self.words}"


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
    """What fine-tuning forgets there out of distribution, and what WiSE-FT and CAR-FT give back; empty if nothing."""

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
            ("By how much", where + ("; ".join(sizes) + "." if sizes else "not measured.") + self.forgetting),
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
            view.name: tuple(_sentence(_Measured.of(topic, view), view, verdicts, checks) for topic in TOPICS)
            for view in evidence.views()
            if view.name in {evidence.name, *decided}
        }
        first = sentences.pop(evidence.name)
        scope = evidence.name if evidence.others else ""
        return PageAnswer(first, sentences, _trust(evidence, verdicts, checks, controls), scope, _forgetting(evidence))


def _forgetting(evidence: Evidence) -> str:
    """What FT forgets out of distribution and the shares that methods give back, as a sentence; empty if nothing."""
    found = {name: GivenBack.of(evidence, entry) for name, entry in (("WiSE-FT", POSITIVE), ("CAR-FT", CAR_FT))}
    shares = [f"{name} gives back {back.words}" for name, back in found.items() if back is not None and back.is_defined]
    if not shares or (lost := forgotten(evidence)) is None:
        return ""
    return f" Out of distribution fine-tuning forgets {100 * lost.estimate.effect:.1f} points; {', '.join(shares)}."


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
class Compared:
    """A method against plain fine-tuning in one scope, whether or not a claim about it can be asked."""

    part: Part
    equivalence: float | None = None
    """The margin that the whole interval lies within, a share of 1; None where it does not."""
    doubt: str = ""
    """Which evidence is missing or in doubt, as half a sentence; mostly empty."""

    @property
    def is_shown(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.part.low > 0 or self.part.high < 0

    @property
    def size(self) -> str:
        """The difference in points with its interval; empty where there is none."""
        effect = self.part.estimate.effect
        return "" if math.isnan(effect) else f"{100 * effect:+.1f} points ({interval_words(self.part)})"

    @property
    def finding(self) -> str:
        """How the method compares with plain fine-tuning, in a few words."""
        if self.doubt or not self.size:
            return "in doubt" if self.size else "cannot be compared"
        if self.is_shown:
            return "CAR-FT is better" if self.part.low > 0 else "CAR-FT is worse"
        if self.equivalence is not None:
            return f"no difference above {100 * self.equivalence:.2g} points"
        return "neither is shown to be better"

    def words(self, method: str) -> str:
        """Which is better and by how much, or that no difference above a margin is left, as half a sentence."""
        effect, interval = self.part.estimate.effect, interval_words(self.part)
        if math.isnan(effect):
            why = self.doubt or "they differ in more than the method"
            return f"{method} and plain fine-tuning cannot be compared, since {why}"
        if self.is_shown:
            direction = "above" if effect > 0 else "below"
            words = f"{method} is {abs(100 * effect):.1f} points {direction} plain fine-tuning ({interval})"
        else:
            words = f"{method} minus plain fine-tuning is {100 * effect:+.1f} points ({interval})"
            if self.equivalence is not None:
                words += f", so no difference above {100 * self.equivalence:.2g} points is left"
            elif math.isnan(self.part.low):
                words += ", which decides nothing"
            else:
                words += ", so neither is shown to be better"
        return f"{words}, in doubt: {self.doubt}" if self.doubt else words


@dataclass(frozen=True)
class _Measured:
    """The three differences of a topic; None where a side was not evaluated."""

    topic: Topic
    is_asked: bool
    tuned: Part | None = None
    """FT minus zero-shot."""
    kept: Part | None = None
    """CAR-FT minus zero-shot."""
    over: Part | None = None
    """CAR-FT minus FT."""
    own: Mapping[str, tuple[str, Part]] = field(default_factory=dict)
    """Method of one's own -> its label, and it minus FT."""

    @staticmethod
    def of(topic: Topic, evidence: Evidence) -> _Measured:
        if not evidence.tasks or not NEEDS[topic.needs](evidence):
            return _Measured(topic, False)

        def difference(first: Entry, second: Entry) -> Part | None:
            return pool(evidence, Contrast(first, second, topic.metric, topic.sets), topic.title)

        own = {name: (evidence.methods[name].label, difference(Entry(name), FT)) for name in own_methods(evidence)}
        measured = {name: (label, part) for name, (label, part) in own.items() if part is not None}
        tuned, kept, over = difference(FT, ZERO_SHOT), difference(CAR_FT, ZERO_SHOT), difference(CAR_FT, FT)
        return _Measured(topic, True, tuned, kept, over, measured)

    def compared(
        self, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]
    ) -> dict[str, Compared]:
        """Label of CAR-FT and of every method of one's own -> it against plain fine-tuning."""
        of_verdicts = map(doubt_of, _verdicts_on(self.topic, evidence, verdicts))
        unequal = part_doubt(self.over) if self.over is not None and self.over.unequal else ""
        doubt = _doubt(evidence, checks) or unequal or next(filter(None, of_verdicts), "")
        parts = {"CAR-FT": (self.over, doubt)} if self.over is not None else {}
        for name, (label, part) in self.own.items():
            parts[label] = (part, _doubt(evidence, (), name) or part_doubt(part))
        return {
            label: Compared(part, equivalence_of(evidence, self.topic.needs, [part]), why)
            for label, (part, why) in parts.items()
        }


def own_methods(evidence: Evidence) -> list[str]:
    """The methods of one's own that a scope has studies of."""
    return list(dict.fromkeys(study.method for study in evidence.studies if study.plugin))


def _doubt(evidence: Evidence, checks: Sequence[NullCheck], method: str = CAR_FT.method) -> str:
    """What puts every comparison of a method with FT in doubt, as in the verdicts; mostly empty."""
    if failures(checks):
        return "a null check failed"
    searched = [study for study in evidence.studies if study.method in (FT.method, method)]
    return "too many winners lie at the edge of their search range" if narrow_ranges(searched) else ""


def _sentence(
    measured: _Measured, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]
) -> Sentence:
    """The sentence of a topic: what zero-shot recognises of contexts, the differences, and the verdicts."""
    topic = measured.topic
    compared = measured.compared(evidence, verdicts, checks)
    clauses = _clauses(measured, compared.get("CAR-FT"))
    if not clauses:
        waiting = measured.is_asked or not evidence.tasks
        missing = _what_is_missing(evidence) if waiting else topic.lacking
        clauses.append(_shown_by_grid(topic, evidence) or f"not measured: {missing}")
    if topic.metric == "context" and (recognition := ContextRecognition.of(evidence)) is not None:
        clauses.insert(0, recognition.words)
    clauses += [against.words(label) for label, against in compared.items() if label != "CAR-FT"]
    decided = _verdicts_on(topic, evidence, verdicts)
    if decided and measured.over is not None:
        clauses.append("claim " + ", ".join(f"{v.claim} {v.shown_word}" for v in decided))
    over = compared.get("CAR-FT")
    finding, size = ("not measured", "") if over is None else (over.finding, over.size)
    return Sentence(topic.title, "; ".join(clauses) + ".", finding, size)


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
    broken = [evidence.label(task) for task in evidence.tasks or unreadable if task in unreadable]
    return f"the data of {_few(broken, 3)} are broken" if broken else "fine-tuned cells were not evaluated yet"


def _verdicts_on(topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on a topic's claims in the scope of the evidence."""
    named = {claim.id for claim in ledger().values() if claim.topic == topic.title}
    return [v for v in verdicts if v.claim in named and v.scope == evidence.name and not v.missing]


def _few(scopes: Sequence[str], named: int) -> str:
    rest = len(scopes) - named
    return ", ".join(scopes[:named]) + (f" and {rest} more" if rest > 0 else "")


def _clauses(measured: _Measured, over: Compared | None) -> list[str]:
    """The measured differences in words: CAR-FT against FT, and both against zero-shot, which contexts begin with."""
    between = [] if over is None else [over.words("CAR-FT")]
    sides = [("plain fine-tuning", measured.tuned), ("CAR-FT", measured.kept)]
    moves = [f"{name} {_moved(part)}" for name, part in sides if part is not None]
    start = [f"against zero-shot, {' and '.join(moves)}"] if moves else []
    return start + between if measured.topic.metric == "context" else between + start


def _moved(part: Part) -> str:
    effect = part.estimate.effect
    if math.isnan(effect):
        return "cannot be compared"
    size = f"{abs(100 * effect):.1f} points ({interval_words(part)})"
    if Compared(part).is_shown:
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
    contexts, inside, outside = (_Measured.of(topic, evidence) for topic in TOPICS)
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
            " ".join(f"{evidence.label(task)}: {why}" for task, why in evidence.archive.unreadable.items()),
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


def _learned(found: _Measured) -> str:
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
    words: Mapping[ControlAnswer, str] = {"holds": "hold", "does not hold": "do not hold", "not run": "were not run"}
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
