"""The three sentences on a scope: what zero-shot recognises, how CAR-FT compares with FT, and the verdicts.

They follow from the evidence and tell differences in points with 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from carft.core.errors import first_of
from carft.store.study import narrow_ranges
from reports.analysis.contrasts import Contrast, Part, Sets, every_set, every_suite, id_test, pool
from reports.analysis.equal_settings import differences_by_setting, evaluated_cells
from reports.analysis.forgetting import equivalence_of
from reports.analysis.levels import ContextRecognition
from reports.analysis.null_checks import NullCheck, failures
from reports.claims.claim import Verdict
from reports.claims.notes import doubt_of
from reports.claims.rules import ledger
from reports.claims.verdicts import NEEDS
from reports.evidence.evidence import CAR_FT, FT, ZERO_SHOT, Entry, Evidence


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
class Measured:
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
    def of(topic: Topic, evidence: Evidence) -> Measured:
        if not evidence.tasks or not NEEDS[topic.needs](evidence):
            return Measured(topic, False)

        def difference(first: Entry, second: Entry) -> Part | None:
            return pool(evidence, Contrast(first, second, topic.metric, topic.sets), topic.title)

        own = dict.fromkeys(study.method for study in evidence.studies if study.plugin)
        measured = {
            name: (evidence.methods[name].label, part)
            for name in own
            if (part := difference(Entry(name), FT)) is not None
        }
        tuned, kept, over = difference(FT, ZERO_SHOT), difference(CAR_FT, ZERO_SHOT), difference(CAR_FT, FT)
        return Measured(topic, True, tuned, kept, over, measured)

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


def _doubt(evidence: Evidence, checks: Sequence[NullCheck], method: str = CAR_FT.method) -> str:
    """What puts every comparison of a method with FT in doubt, as in the verdicts; mostly empty."""
    if failures(checks):
        return "a null check failed"
    searched = [study for study in evidence.studies if study.method in (FT.method, method)]
    return "too many winners lie at the edge of their search range" if narrow_ranges(searched) else ""


def sentence_on(
    measured: Measured, evidence: Evidence, verdicts: Sequence[Verdict], checks: Sequence[NullCheck]
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
    broken = [task for task in evidence.tasks or unreadable if task in unreadable]
    return f"the data of {first_of(broken, 3)} are broken" if broken else "fine-tuned cells were not evaluated yet"


def _verdicts_on(topic: Topic, evidence: Evidence, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on a topic's claims in the scope of the evidence."""
    named = {claim.id for claim in ledger().values() if claim.topic == topic.title}
    return [v for v in verdicts if v.claim in named and v.scope == evidence.name and not v.missing]


def _clauses(measured: Measured, over: Compared | None) -> list[str]:
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
