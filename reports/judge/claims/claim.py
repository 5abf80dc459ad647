"""What a claim and a verdict are. What decides a claim, and its reason, is in its file in ``ledger``."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeVar

from reports.judge.evidence import Evidence
from reports.judge.part import Part
from reports.note import Note

Fact = TypeVar("Fact", bound=Hashable)


def each_once(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """All of some facts, each once, in the order of their first."""
    return tuple(dict.fromkeys(facts))


NO_DIFFERENCE: Final = "no difference"
INCONCLUSIVE: Final = "inconclusive"
#: where the intervals of the deciding parts lie; ``for`` and ``against`` are of the claim
Direction = Literal["for", "against", "no difference", "open"]
#: direction -> its word on several searches
WORDS: Mapping[Direction, str] = {
    "for": "reproduced",
    "against": "contradicted",
    "no difference": NO_DIFFERENCE,
    "open": INCONCLUSIVE,
}
#: what stands before the word of a direction on one search
SUGGESTED: Final = "suggested"
#: a word of :data:`ICONS`
Answer = str
#: every answer -> the icon that stands before it
ICONS: Mapping[Answer, str] = {
    "reproduced": "✔",
    "contradicted": "✘",
    "no difference": "=",
    "suggested reproduced": "✓",
    "suggested contradicted": "✗",
    "suggested no difference": "≅",
    "inconclusive": "≈",
    "not run": "…",
}
#: what may stand against the evidence of a verdict; empty for nothing
Flag = Literal["", "not comparable", "in doubt"]


#: which gain of CAR-FT over FT a claim states; see ``Claim.gain``
Gain = Literal["ID test", "suites", "tasks"]
#: what a sentence at the top of a report states of a verdict: CAR-FT against FT, or that CAR-FT keeps a margin
Stated = Literal["direction", "margin"]


@dataclass(frozen=True)
class Reference:
    """A number that others report."""

    set: str
    """Set of a task, ``ood/mean`` or ``average``, or a data set of DomainBed."""
    dataset: str
    """Name in the reference numbers."""
    method: str
    value: float
    """In %, or in points for a difference."""
    confidence: str = "secondary"
    """As in the reference numbers."""
    minus: str = ""
    """The method that is subtracted; empty where it is no difference."""


@dataclass(frozen=True)
class Claim:
    """A testable statement with what decides it. A subclass has an instance in ``claims/ledger``."""

    id: str
    """Name in commands, tables and sentences, such as the letter C and a number."""
    title: str
    """What is claimed, in a few words."""
    statement: str
    rule: str
    """When it is reproduced, in words."""
    source: str
    """Where the claim is from."""
    margin_points: float = 0.0
    """Fixed in advance, in points of accuracy."""
    has_own_margin: bool = False
    """Whether the margin is this audit's and not the source's."""
    is_primary: bool = False
    """Whether it is a primary endpoint: the verdicts of a scope's primary endpoints are corrected jointly, by Holm."""
    asked_of: Sequence[str] = ()
    """Kinds of families (``reports/read/scopes.py``); none for a claim that is decided without any run."""
    needs: str = ""
    """What a scope must have for the question to make sense: ``test``, ``suites``, ``contexts`` or ``readings``."""
    scale: str = "any"
    references: Sequence[Reference] = ()
    topic: str = ""
    """The sentence at the top of a report that names its verdict."""
    headline: Stated | None = None
    """What the sentence states of it besides the word; None for the word alone."""
    gain: Gain | None = None
    """For a claim that CAR-FT gains over FT: on the ID test set, on each suite, or on each task. Claims about tuning
    and readings decide it again."""
    presumes: Literal["recognition", "classes", "forgetting"] | None = None
    """What an answer presumes: that zero-shot recognises contexts, or knows the classes under shift, without which the
    claim is open; or that fine-tuning forgets, whose size the reason names."""

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict in one scope."""
        raise NotImplementedError

    @property
    def margin(self) -> float:
        """The margin as a share of 1."""
        return self.margin_points / 100


@dataclass(frozen=True)
class VerdictNumber:
    """The number that stands for a claim. Effects and bounds are shares of 1, or a correlation."""

    part: str = ""
    """What it is of."""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n_tasks: int = 0
    n_seeds: int = 0
    n_groups: int = 0
    n_searches: int = 0
    """Independent searches of each side; 0 where nothing was searched for the verdict."""
    smallest_visible: float | None = None
    floor: str = ""
    """The source with the largest share of the variance."""
    metric: str = "top1"
    """As of :class:`reports.judge.part.Part`."""
    unit: str = "points"
    """``points`` or ``rank correlation``."""
    group: str = ""
    """What a group of images is called."""

    @staticmethod
    def of(part: Part, group: str) -> VerdictNumber:
        """That of a part."""
        estimate = part.estimate
        return VerdictNumber(
            part.name,
            effect=None if math.isnan(estimate.effect) else estimate.effect,
            low=part.low,
            high=part.high,
            n_tasks=len(part.tasks),
            n_seeds=estimate.n_seeds,
            n_groups=estimate.n_groups,
            n_searches=estimate.n_searches,
            smallest_visible=estimate.smallest_visible(),
            floor=estimate.floor(),
            metric=part.metric,
            group=group,
        )


@dataclass(frozen=True)
class Verdict:
    """The answer to a claim in one scope, with everything a reader needs to doubt it."""

    asked: Claim
    scope: str
    scale: str
    direction: Direction = "open"
    """What the intervals say; :attr:`verdict` is the word for it."""
    reasons: tuple[str, ...] = ()
    """Why, in sentences."""
    equivalence: float | None = None
    """The margin of equivalence that every deciding interval lies within; None where one does not."""
    power: float | None = None
    """The probability that an effect of 2 points beyond the margin would show."""
    p: float | None = None
    """One-sided p value for or against the claim, the smaller where it is neither; None without an interval."""
    p_adjusted: float | None = None
    """Of a primary endpoint: p after Holm over the primary endpoints of the scope."""
    number: VerdictNumber = VerdictNumber()
    parts: tuple[Part, ...] = ()
    shown: Part | None = None
    """The part whose number stands for the claim; None where none of its parts does."""
    cells: tuple[str, ...] = ()
    unequal: tuple[Note, ...] = ()
    """What the two sides differ in besides the method."""
    damage: tuple[Note, ...] = ()
    """Which evidence is missing, damaged or unsound."""
    missing: str = ""
    """What would have to be run or added before it can be asked, as half a sentence."""
    command: str = ""
    """What runs it; empty where no sweep does."""
    cautions: tuple[str, ...] = ()
    """What a reader must know of the cells that it rests on."""

    @staticmethod
    def on(claim: Claim, evidence: Evidence, parts: Sequence[Part], shown: Part) -> Verdict:
        """An open verdict on parts, with the number of the one that stands for the claim."""
        cells: list[str] = []
        unequal: list[Note] = []
        damage: list[Note] = []
        for part in parts:
            cells += part.cells
            if part.deciding:
                unequal += part.unequal
                damage += part.flaws
        return Verdict(
            claim,
            evidence.name,
            evidence.scale,
            number=VerdictNumber.of(shown, evidence.card(evidence.tasks[0]).group),
            parts=tuple(parts),
            shown=shown if shown in parts else None,
            cells=each_once(cells),
            unequal=each_once(unequal),
            damage=each_once(damage),
        )

    @property
    def claim(self) -> str:
        """Id of the claim."""
        return self.asked.id

    @property
    def basis(self) -> str:
        """``records``, or ``reference numbers`` where nothing was run."""
        return "records" if self.asked.asked_of else "reference numbers"

    @property
    def deciding(self) -> list[Part]:
        """The parts that decide it; none where it was not run."""
        return [part for part in self.parts if part.deciding]

    @property
    def flag(self) -> Flag:
        """What stands against its evidence; a verdict with a flag decides nothing."""
        if self.unequal:
            return "not comparable"
        return "in doubt" if self.damage else ""

    @property
    def verdict(self) -> Answer:
        """The word. docs/statistics.md has the rule."""
        if self.missing:
            return "not run"
        return INCONCLUSIVE if self.flag else self.of_intervals

    @property
    def of_intervals(self) -> Answer:
        """The word that the intervals alone give, whatever stands against the evidence."""
        word = WORDS[self.direction]
        if self.direction == "open" or self.number.n_searches != 1:
            return word
        return f"{SUGGESTED} {word}"

    @property
    def covers_tuning_luck(self) -> bool | None:
        """Whether the interval covers the variation between searches; None where nothing was searched."""
        return self.number.n_searches > 1 if self.number.n_searches else None

    def with_reason(self, reason: str) -> Verdict:
        """The verdict with one more sentence."""
        return replace(self, reasons=(*self.reasons, reason))

    def opened(self, reason: str, **changes: Any) -> Verdict:
        """The verdict that decides nothing whatever its intervals say. reason: why, which comes first."""
        return replace(self, direction="open", equivalence=None, reasons=(reason, *self.reasons), **changes)
