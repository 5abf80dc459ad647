"""The rule that turns deciding parts into a verdict, and claims that one mean decides."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Literal

from reports.analysis.contrasts import Contrast, Part, every_suite, pool, sampled
from reports.analysis.forgetting import equivalence_of
from reports.analysis.levels import ClassRecognition, ContextRecognition
from reports.claims.claim import NO_DIFFERENCE, OF_DATA, Claim, Decision, Direction, Ground, Lack, Missing, Verdict
from reports.claims.power import claim_power
from reports.evidence.evidence import ZERO_SHOT, Evidence
from reports.stats.ranks import ONE_SIDED, holm


@dataclass(frozen=True)
class Outcome(Ground):
    """Where the intervals of the deciding parts lie."""

    direction: Direction
    deciding: tuple[Part, ...]
    opposed: tuple[Part, ...] = ()
    """Those that lie on the other side, after Holm."""
    undecided: tuple[Part, ...] = ()
    """Those that reach the margin."""
    beyond: tuple[Part, ...] = ()
    """Those that lie on the other side, but not after Holm."""
    equivalence: float | None = None
    """The margin that every interval lies within, a share of 1; None where one does not."""


@dataclass(frozen=True)
class ReferenceGaps(Ground):
    """The parts on whose sets others report an effect."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class UnknownContexts(Ground):
    """That zero-shot recognises contexts no better than chance, so that there is no recognition to lose or keep."""

    recognition: ContextRecognition


@dataclass(frozen=True)
class CouldBeGivenBack(Ground):
    """What FT loses to zero-shot out of distribution: the most that a remedy can give back of it."""

    forgotten: Part


@dataclass(frozen=True)
class OpenAfterHolm(Ground):
    """That a primary endpoint is open, since its p value after Holm over so many is not below 2.5 %."""

    p: float
    count: int


@dataclass(frozen=True)
class UnknownClasses(Ground):
    """That zero-shot, which a side is compared with, is not above chance."""

    recognition: ClassRecognition


@dataclass(frozen=True)
class SuitesAlone(Ground):
    """That a mean rests on these suites, since others were left out."""

    suites: tuple[str, ...]


def not_run(claim: Claim, evidence: Evidence, missing: Missing) -> Verdict:
    """The verdict where evidence is missing: what, and the command that makes it, by default the scope's sweep.

    There is none where other data are missing.
    """
    if missing.lack in OF_DATA:
        missing = replace(missing, command="")
    elif not missing.command:
        missing = replace(missing, command=sweep_command(evidence))
    return Verdict(claim, evidence.name, evidence.scale, missing=missing)


def sweep_command(evidence: Evidence, methods: Iterable[str] = ()) -> str:
    """The sweep that fills a scope. methods: those that it must run; none for those that it runs by itself."""
    if not methods:
        return evidence.scope.command
    named = dict.fromkeys(("zeroshot", *methods))
    has_plugin = any(evidence.archive.catalog.method(name).digest for name in named)
    return f"{evidence.scope.command} --methods {','.join(named)}{' --plugin FILE' * has_plugin}"


def decide(claim: Claim, evidence: Evidence, wanted: Sequence[Part | None], missing: Missing) -> Verdict:
    """The verdict on deciding parts. A part that is None decides and is absent: then the claim was not run."""
    parts = [part for part in wanted if part is not None]
    deciding = [part for part in parts if part.deciding]
    if not deciding or None in wanted:
        return not_run(claim, evidence, missing)
    outcome = direction_of(deciding, equivalence_of(evidence, claim.needs, deciding))
    direction, power = outcome.direction, claim_power(deciding)
    shown = weakest_of(deciding)
    if direction == "against":  # by the part that contradicts most surely
        shown = min(deciding, key=lambda part: part.p_against)
    searches = 0
    if shown.estimate.n_seeds:
        searches = min(part.estimate.n_searches for part in deciding)
    verdict = Verdict.on(claim, evidence, parts, shown)
    decision = Decision(
        direction,
        _grounds(outcome),
        equivalence=outcome.equivalence,
        power=None if math.isnan(power) else power,
        p=p_of(deciding, direction),
    )
    return replace(verdict, decision=decision, number=replace(verdict.number, n_searches=searches))


def _grounds(outcome: Outcome) -> tuple[Ground, ...]:
    """Where the intervals lie, and beside them the effects that others report."""
    known = tuple(part for part in outcome.deciding if part.reported is not None)
    return (outcome, ReferenceGaps(known)) if known else (outcome,)


def p_of(deciding: Sequence[Part], direction: Direction) -> float | None:
    """One-sided p value for or against the claim: that of the direction, else the smaller; None without an interval."""
    p_for = max(part.p_for for part in deciding)
    p_against = min(holm([part.p_against for part in deciding]))
    if math.isnan(p_for) or math.isnan(p_against):
        return None
    return {"for": p_for, "against": p_against}.get(direction, min(p_for, p_against))


def open_below_chance(verdict: Verdict, evidence: Evidence) -> Verdict:
    """A verdict on a comparison with zero-shot out of distribution; open where zero-shot is not above chance there."""
    recognition = ClassRecognition.of(evidence, every_suite)
    if verdict.missing or recognition is None or recognition.is_above_chance:
        return verdict
    return verdict.with_grounds(UnknownClasses(recognition)).decided(direction="open", equivalence=None)


def corrected_jointly(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts with Holm's correction over the primary endpoints of each scope.

    One that is for or against its claim is open where its adjusted p value is not below 2.5 %.
    """
    primary: dict[str, list[int]] = {}
    for place, verdict in enumerate(verdicts):
        if verdict.asked.is_primary and verdict.decision.p is not None:
            primary.setdefault(verdict.scope, []).append(place)
    corrected = list(verdicts)
    for places in primary.values():
        adjusted = holm([float(verdicts[place].decision.p or 0) for place in places])
        for place, p in zip(places, adjusted, strict=True):
            corrected[place] = _adjusted(verdicts[place], p, len(places))
    return corrected


def _adjusted(verdict: Verdict, p: float, count: int) -> Verdict:
    """A primary endpoint with its adjusted p value; open where that is not below 2.5 %."""
    if verdict.direction not in ("for", "against") or p < ONE_SIDED:
        return verdict.decided(p_adjusted=p)
    return verdict.with_grounds(OpenAfterHolm(p, count)).decided(direction="open", equivalence=None, p_adjusted=p)


def weakest_of(parts: Sequence[Part]) -> Part:
    """The part whose interval lies least on the claimed side; one without an interval before all others."""
    for part in parts:
        if math.isnan(part.estimate.se):
            return part
    return min(parts, key=lambda part: part.slack)


def direction_of(deciding: Sequence[Part], equivalence: float | None = None) -> Outcome:
    """Where the intervals of the deciding parts lie.

    For: every interval lies on the claim's side of its margin. Against: one lies on the other side, after Holm. No
    difference: neither, and a margin of equivalence holds every interval. Open: none of these.

    equivalence: the margin that every interval lies within, a share of 1; None where one does not.
    """
    parts = tuple(deciding)
    if all(part.slack > 0 for part in parts):
        return Outcome("for", parts)
    opposed = tuple(compress(parts, are_against(parts)))
    if opposed:
        return Outcome("against", parts, opposed)
    beyond, undecided = [], []
    for part in parts:
        if part.is_beyond:
            beyond.append(part)
        elif part.slack <= 0:
            undecided.append(part)
    direction: Direction = "open"
    if equivalence is not None:
        direction = NO_DIFFERENCE
    return Outcome(direction, parts, (), tuple(undecided), tuple(beyond), equivalence)


def are_against(parts: Sequence[Part]) -> list[bool]:
    """Whether each part contradicts its claim, after Holm over all of them."""
    adjusted = holm([part.p_against for part in parts])
    return [p < ONE_SIDED for p in adjusted]


def beside(evidence: Evidence, sides: str, contrasts: Mapping[str, Contrast], **settings: Any) -> list[Part]:
    """Parts of two sides that decide nothing, by place; those that are not there are left out."""
    parts = []
    for place, contrast in contrasts.items():
        part = pool(evidence, contrast, sides, place, **{"deciding": False, **settings})
        if part is not None:
            parts.append(part)
    return parts


@dataclass(frozen=True, kw_only=True)
class MeanClaim(Claim):
    """A claim that one difference, mean over tasks, decides."""

    contrast: Contrast
    sides: str
    """Of the deciding part: ``CAR-FT - FT``."""
    place: str
    """Of the deciding part: the sets."""
    side: Literal["above", "below"] = "above"
    """On which side of the margin the whole interval must lie."""
    beside: Mapping[str, Contrast] = field(default_factory=dict)
    """Place -> contrast of the parts that stand beside it and decide nothing."""
    reported_on: str = ""
    """The set of the references whose number the effect is compared with."""
    missing: Sequence[str] = ("ft", "car_ft")
    """What to run where a side is absent."""
    run: Sequence[str] = ()
    """Methods that the sweep of a scope must name to run both sides; none where it runs them by itself."""

    def decide(self, evidence: Evidence) -> Verdict:
        settings: dict[str, Any] = {"margin": self.margin, "side": self.side}
        others = self.reported(evidence, self.reported_on)
        mean = pool(evidence, self.contrast, self.sides, self.place, reported=others, **settings)
        parts = [mean, *sampled(evidence, self.contrast, self.sides, self.place, reported=others, **settings)]
        parts += beside(evidence, self.sides, self.beside, **settings)
        missing = Missing(Lack.CELLS, tuple(self.missing), command=sweep_command(evidence, self.run))
        verdict = decide(self, evidence, parts, missing)
        if self.needs == "suites" and ZERO_SHOT in (self.contrast.first, self.contrast.second):
            verdict = open_below_chance(verdict, evidence)
        if not (verdict.parts and self.needs == "suites" and evidence.left_out_suites()):
            return verdict
        return verdict.with_grounds(SuitesAlone(tuple(evidence.suite_names())))
