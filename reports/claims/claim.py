"""What a claim and a verdict are, and the words of verdicts. What decides one is in its file in ``ledger``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from reports.analysis.contrasts import Part
from reports.evidence.evidence import Evidence
from reports.stats.intervals import Estimate

NO_DIFFERENCE: Final = "no difference"
UNDECIDABLE: Final = "not decidable at this size"
CANNOT_BE_ASKED: Final = "cannot be asked here"
#: a word of :data:`ICONS`
Answer = str
#: every answer -> the icon that stands before it
ICONS: Mapping[Answer, str] = {
    "reproduced": "✔",
    "contradicted": "✘",
    "no difference": "=",
    "suggested": "✓",
    "suggested against": "✗",
    "suggested no difference": "≅",
    "in doubt, for": "?",
    "in doubt, against": "?",
    "in doubt, no difference": "?",
    "inconclusive": "≈",
    "not decidable at this size": "∅",
    "cannot be asked here": "⊘",
    "not comparable": "≠",
    "not run": "…",
}
#: where the intervals of the deciding parts lie; ``for`` and ``against`` are of the claim
Direction = Literal["for", "against", "no difference", "open"]
#: direction -> its words on several searches, on one search, and where part of the evidence is missing or damaged
WORDS: Mapping[Direction, tuple[Answer, Answer, Answer]] = {
    "for": ("reproduced", "suggested", "in doubt, for"),
    "against": ("contradicted", "suggested against", "in doubt, against"),
    "no difference": ("no difference", "suggested no difference", "in doubt, no difference"),
    "open": ("inconclusive", "inconclusive", "inconclusive"),
}


#: which gain of CAR-FT over FT a claim states; see ``Claim.gain``
Gain = Literal["ID test", "suites", "tasks"]


@dataclass(frozen=True)
class Reference:
    """A number that others report."""

    set: str
    """Set of a task, ``ood/mean`` or ``average``, or a data set of DomainBed."""
    dataset: str
    """Name in the reference numbers."""
    what: str
    """A method, or two whose difference it is."""
    value: float
    """In %, or in points for a difference."""
    confidence: str = "secondary"
    """As in the reference numbers."""


@dataclass(frozen=True)
class Claim:
    """A testable statement with what decides it. Each is a subclass with an instance in ``reports/claims/ledger``."""

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
    is_primary: bool = False
    """Whether it is a primary endpoint: the verdicts of a scope's primary endpoints are corrected jointly, by Holm."""
    asked_of: Sequence[str] = ()
    """Kinds of families (``reports/evidence/scopes.py``); none for a claim that is decided without any run."""
    needs: str = ""
    """What a scope must have for the question to make sense: ``test``, ``suites``, ``contexts`` or ``readings``."""
    scale: str = "any"
    references: Sequence[Reference] = ()
    topic: str = ""
    """The sentence at the top of a report that names its verdict."""
    gain: Gain | None = None
    """For a claim that CAR-FT gains over FT: on the ID test set, on each suite, or on each task. Claims about tuning
    and readings decide it again."""
    own: bool = False
    """Whether it is a reader's own claim, which stands apart from those of the ledger."""
    presumes: Literal["recognition", "forgetting"] | None = None
    """What must hold in a scope for an answer to mean anything (assay sensitivity, ICH E10): zero-shot recognises
    contexts, or fine-tuning forgets."""

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict in one scope."""
        raise NotImplementedError

    @property
    def margin(self) -> float:
        """The margin as a share of 1."""
        return self.margin_points / 100

    def reference(self, name: str) -> float | None:
        """The reference number of a set, as a share of 1."""
        return next((r.value / 100 for r in self.references if r.set == name), None)

    def reported(self, evidence: Evidence, name: str) -> float | None:
        """The effect that others report on a set; None unless the scope is theirs: ImageNet with the table's model."""
        return self.reference(name) if evidence.scope.is_of_references and evidence.tasks == ["imagenet"] else None


@dataclass(frozen=True)
class Verdict:
    """The answer to a claim, with everything a reader needs to doubt it. Numbers are shares of 1."""

    asked: Claim
    scale: str
    direction: Direction = "open"
    """What the intervals say; :attr:`verdict` is the word for it."""
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
    headline: str = ""
    """The part whose effect and interval stand for the claim."""
    finding: str = ""
    """What the intervals say, in sentences."""
    missing: str = ""
    """What would have to be run, as half a sentence."""
    unaskable: str = ""
    """Why the claim has no meaning here whatever its intervals, in a sentence."""
    insensitive: str = ""
    """Why no effect could have shown here, in a sentence; it replaces open verdicts and *no difference* alone."""
    unequal: tuple[str, ...] = ()
    """What the two sides differ in besides the method, as half sentences."""
    damage: tuple[str, ...] = ()
    """Which evidence is missing, damaged or unsound, as half sentences."""
    underpowered: str = ""
    """Why an open claim could not be decided at this size, in sentences."""
    equivalence: float | None = None
    """The margin of equivalence that every deciding interval lies within; None where one does not."""
    parts: tuple[Part, ...] = ()
    cells: tuple[str, ...] = ()
    scope: str = ""
    unit: str = "points"
    """``points`` or ``rank correlation``."""
    basis: str = "records"
    """``records``, or ``reference numbers`` where nothing was run."""
    power: str = ""
    """What more seeds or groups would buy, in words."""
    command: str = ""
    """What would run what is missing."""
    caution: str = ""
    """What a reader must know of the cells that it rests on; mostly empty."""
    power_to_show: float | None = None
    """The probability that an effect as large as others report, or 2 points beyond the margin, would show."""
    p: float | None = None
    """One-sided p value of the direction, the smallest of all directions where it is open; None without an interval."""
    p_adjusted: float | None = None
    """Of a primary endpoint: p after Holm over the primary endpoints of the scope."""
    metric: str = "top1"
    """Of the part that stands for the claim, as of :class:`reports.analysis.contrasts.Part`."""

    @staticmethod
    def on(claim: Claim, evidence: Evidence, parts: Sequence[Part], shown: Part) -> Verdict:
        """An open verdict on parts, with the numbers of the one that stands for the claim."""
        estimate, deciding = shown.estimate, [part for part in parts if part.deciding]
        return Verdict(
            claim,
            evidence.scale,
            effect=None if math.isnan(estimate.effect) else estimate.effect,
            low=shown.low,
            high=shown.high,
            n_tasks=len(shown.tasks),
            n_seeds=estimate.n_seeds,
            n_groups=estimate.n_groups,
            n_searches=estimate.n_searches,
            smallest_visible=estimate.smallest_visible(),
            floor=estimate.floor(),
            headline=shown.name,
            unequal=tuple(dict.fromkeys(text for part in deciding for text in part.unequal)),
            damage=tuple(dict.fromkeys(text for part in deciding for text in part.flaws)),
            parts=tuple(parts),
            cells=tuple(dict.fromkeys(cell for part in parts for cell in part.cells)),
            scope=evidence.name,
            metric=shown.metric,
        )

    @property
    def claim(self) -> str:
        """Id of the claim."""
        return self.asked.id

    @property
    def deciding(self) -> list[Part]:
        """The parts that decide it; none where it was not run."""
        return [part for part in self.parts if part.deciding]

    @property
    def shown(self) -> Part | None:
        """The part whose effect and interval stand for the claim; None where it has no parts."""
        return next((part for part in self.parts if part.name == self.headline), None)

    @property
    def verdict(self) -> Answer:
        """The word: that of the first line that holds. docs/statistics.md has the same list."""
        decided, suggested, doubtful = WORDS[self.direction]
        directed = doubtful if self.damage else suggested if self.n_searches == 1 else decided
        lines: Sequence[tuple[bool, Answer]] = (
            (bool(self.missing), "not run"),
            (bool(self.unaskable), CANNOT_BE_ASKED),
            (bool(self.unequal), "not comparable"),
            (self.direction in ("for", "against"), directed),
            (bool(self.insensitive), CANNOT_BE_ASKED),
            (self.direction == NO_DIFFERENCE, directed),
            (bool(self.underpowered and not self.damage), UNDECIDABLE),
        )
        return next((word for holds, word in lines if holds), "inconclusive")

    @property
    def shown_word(self) -> str:
        """The word as people are shown it: ``no difference above 0.5`` names the margin in points."""
        size = "" if self.equivalence is None else f" above {100 * self.equivalence:.2g}"
        return self.verdict.replace(NO_DIFFERENCE, f"{NO_DIFFERENCE}{size}")

    @property
    def reason(self) -> str:
        """Why it is this word, in sentences."""
        if self.missing:
            return f"Missing: {self.missing}. Run: {self.command}"
        closed = self.unaskable or (self.insensitive if self.verdict == CANNOT_BE_ASKED else "")
        otherwise = f"Without this rule: {replace(self, unaskable='', insensitive='').verdict}." if closed else ""
        differ = f"The two sides differ in more than the method: {'; '.join(self.unequal)}." if self.unequal else ""
        doubt = f"Part of the evidence is missing or in doubt: {'; '.join(self.damage)}." if self.damage else ""
        weak = self.underpowered if self.direction == "open" and not self.damage else ""
        return " ".join(filter(None, (closed, otherwise, differ, doubt, weak, self.finding)))

    @property
    def tuning(self) -> str:
        """Whether the interval covers the luck of the search, and which searches are left out; empty without one."""
        if self.n_searches == 0:
            return ""
        covers = f"{self.n_searches} searches a study: the interval covers tuning luck."
        if self.n_searches == 1:
            covers = "One search a study: the interval does not cover tuning luck, so the verdict is suggested at most."
        return " ".join([covers, *dict.fromkeys(part.unshared for part in self.deciding if part.unshared)])

    @property
    def covers_tuning_luck(self) -> bool | None:
        """Whether the interval covers the variation between searches; None where nothing was searched."""
        return self.n_searches > 1 if self.n_searches else None

    def as_dict(self) -> dict[str, Any]:
        """What scripts rely on, and the reason, in the order of columns. Numbers that are not finite are None."""
        return _plain({name: getattr(self, "headline" if name == "part" else name) for name in COLUMNS})

    def as_json(self) -> dict[str, Any]:
        """The same with all parts, and below each part the tasks that it pools. Effects and bounds are shares of 1."""

        def numbers(estimate: Estimate) -> dict[str, Any]:
            low, high = estimate.interval()
            return _plain({"effect": estimate.effect, "low": low, "high": high})

        parts = [
            {
                "part": part.name,
                "decides": part.deciding,
                **numbers(part.estimate),
                "tasks": [{"task": shown, **numbers(estimate)} for shown, estimate in part.by_task],
            }
            for part in self.parts
        ]
        return {**self.as_dict(), "parts": parts}


#: keys of a verdict for scripts
COLUMNS = (
    "claim", "verdict", "scope", "scale", "unit", "basis", "effect", "low", "high", "n_tasks", "n_seeds", "n_groups",
    "smallest_visible", "part", "reason", "power", "command", "caution", "n_searches", "covers_tuning_luck",
    "power_to_show", "metric", "direction", "equivalence", "p_adjusted",
)  # fmt: skip


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}
