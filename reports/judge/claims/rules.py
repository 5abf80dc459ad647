"""The rule that turns deciding parts into a verdict, and claims that one mean decides."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Literal

import numpy as np

from reports.judge.claims.claim import NO_DIFFERENCE, Claim, Direction, Verdict
from reports.judge.contrasts.contrast import Contrast, pool, sampled
from reports.judge.evidence import Evidence
from reports.judge.forgetting import equivalence_of
from reports.judge.part import Part
from reports.judge.ranks import ONE_SIDED, holm
from reports.note import listed

#: distance of true effects from the margin, a share of 1, of which the power is computed
ASSUMED = 0.02


def not_run(claim: Claim, evidence: Evidence, missing: str, command: str | None = None) -> Verdict:
    """The verdict where evidence is missing.

    command: what makes it; by default the scope's sweep, and empty where no sweep does.
    """
    if command is None:
        command = sweep_command(evidence)
    return Verdict(claim, evidence.name, evidence.scale, missing=missing, command=command)


def sweep_command(evidence: Evidence, methods: Iterable[str] = ()) -> str:
    """The sweep that fills a scope. methods: those that it must run; none for those that it runs by itself."""
    if not methods:
        return evidence.scope.command
    named = dict.fromkeys(("zeroshot", *methods))
    has_plugin = any(evidence.folder.catalog.method(name).digest for name in named)
    return f"{evidence.scope.command} --methods {','.join(named)}{' --plugin FILE' * has_plugin}"


def decide(
    claim: Claim, evidence: Evidence, wanted: Sequence[Part | None], missing: str, command: str | None = None
) -> Verdict:
    """The verdict on deciding parts. A part that is None decides and is absent: then the claim was not run.

    missing, command: as of :func:`not_run`.
    """
    parts = [part for part in wanted if part is not None]
    deciding = [part for part in parts if part.deciding]
    if not deciding or None in wanted:
        return not_run(claim, evidence, missing, command)
    equivalence = equivalence_of(evidence, claim.needs, deciding)
    direction, reason = direction_of(deciding, equivalence)
    shown = weakest_of(deciding)
    if direction == "against":  # by the part that contradicts most surely
        shown = min(deciding, key=lambda part: part.p_against)
    searches = 0
    if shown.estimate.n_seeds:
        searches = min(part.estimate.n_searches for part in deciding)
    verdict = Verdict.on(claim, evidence, parts, shown)
    power = claim_power(deciding)
    return replace(
        verdict,
        direction=direction,
        reasons=(reason,),
        equivalence=equivalence if direction in (NO_DIFFERENCE, "open") else None,
        power=None if math.isnan(power) else power,
        p=p_of(deciding, direction),
        number=replace(verdict.number, n_searches=searches),
    )


def claim_power(deciding: Sequence[Part]) -> float:
    """The probability that true effects of ``ASSUMED`` beyond the margin show in all parts at once.

    Powers of parts of different tasks multiply, since tasks share nothing. Of parts of the same tasks the smallest
    counts, which is the most that their joint power can be. NaN without an interval, and for side ``around``, where a
    wide interval makes the claim easy.
    """
    by_tasks: dict[tuple[str, ...], float] = {}
    for part in deciding:
        power = math.nan if part.side == "around" else part.estimate.power(ASSUMED)
        by_tasks[part.tasks] = float(np.minimum(power, by_tasks.get(part.tasks, 1.0)))
    return math.prod(by_tasks.values())


def p_of(deciding: Sequence[Part], direction: Direction) -> float | None:
    """One-sided p value for or against the claim: that of the direction, else the smaller; None without an interval."""
    p_for = max(part.p_for for part in deciding)
    p_against = min(holm([part.p_against for part in deciding]))
    if math.isnan(p_for) or math.isnan(p_against):
        return None
    return {"for": p_for, "against": p_against}.get(direction, min(p_for, p_against))


def capitalised(words: str) -> str:
    """The words with a large first letter."""
    return words[:1].upper() + words[1:]


def corrected_jointly(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts with Holm's correction over the primary endpoints of each scope.

    One that is for or against its claim is open where its adjusted p value is not below 2.5 %.
    """
    primary: dict[str, list[int]] = {}
    for place, verdict in enumerate(verdicts):
        if verdict.asked.is_primary and verdict.p is not None:
            primary.setdefault(verdict.scope, []).append(place)
    corrected = list(verdicts)
    for places in primary.values():
        adjusted = holm([float(verdicts[place].p or 0) for place in places])
        for place, p in zip(places, adjusted, strict=True):
            corrected[place] = _adjusted(verdicts[place], p, len(places))
    return corrected


def _adjusted(verdict: Verdict, p: float, count: int) -> Verdict:
    """A primary endpoint with its adjusted p value; open where that is not below 2.5 %."""
    if verdict.direction not in ("for", "against") or p < ONE_SIDED:
        return replace(verdict, p_adjusted=p)
    words = f"After Holm over {count} primary endpoints p is {100 * p:.1f} %, not below 2.5 %."
    return verdict.opened(words, p_adjusted=p)


def weakest_of(parts: Sequence[Part]) -> Part:
    """The part whose interval lies least on the claimed side; one without an interval before all others."""
    for part in parts:
        if math.isnan(part.estimate.se):
            return part
    return min(parts, key=lambda part: part.slack)


def direction_of(deciding: Sequence[Part], equivalence: float | None = None) -> tuple[Direction, str]:
    """Where the intervals of the deciding parts lie, and that in sentences.

    For: every interval lies on the claim's side of its margin. Against: one lies on the other side, after Holm. No
    difference: neither, and a margin of equivalence holds every interval. Open: none of these.

    equivalence: the margin that every interval lies within, a share of 1; None where one does not.
    """
    count = len(deciding)
    if all(part.slack > 0 for part in deciding):
        if count > 1:
            return "for", f"All {count} intervals lie on the claim's side; the weakest is {weakest_of(deciding).name}."
        if deciding[0].side == "around":
            return "for", "The number claimed lies inside the interval."
        return "for", "The whole interval lies on the claim's side of the margin."
    opposed = list(compress(deciding, are_against(deciding)))
    if opposed:
        after = ", after Holm," * (count > 1)
        return "against", f"The whole interval lies on the other side{after} for: {_names(opposed, deciding)}."
    words = []
    if equivalence is not None:
        every = "The whole interval lies" if count == 1 else f"All {count} intervals lie"
        words.append(f"{every} within {100 * equivalence:.2g} points of 0, the margin of equivalence.")
    undecided = [part for part in deciding if part.slack <= 0 and not part.is_beyond]
    if undecided:
        words.append(f"The interval reaches the margin for: {_names(undecided, deciding)}.")
    beyond = [part for part in deciding if part.is_beyond]
    if beyond:
        names = _names(beyond, deciding)
        words.append(f"It lies on the other side, but not after Holm over {count}, for: {names}.")
    return "open" if equivalence is None else NO_DIFFERENCE, " ".join(words)


def _names(some: Sequence[Part], deciding: Sequence[Part]) -> str:
    """Names of some of the deciding parts, without the sides where all of them share these."""
    if len(some) == len(deciding) > 1:
        return f"every one of the {len(deciding)}"
    if len(deciding) > 1 and len({part.sides for part in deciding}) == 1:
        return ", ".join(part.place for part in some)
    return ", ".join(part.name for part in some)


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
    missing: Sequence[str] = ("ft", "car_ft")
    """What to run where a side is absent."""
    run: Sequence[str] = ()
    """Methods that the sweep of a scope must name to run both sides; none where it runs them by itself."""

    def decide(self, evidence: Evidence) -> Verdict:
        settings: dict[str, Any] = {"margin": self.margin, "side": self.side}
        mean = pool(evidence, self.contrast, self.sides, self.place, **settings)
        parts = [mean, *sampled(evidence, self.contrast, self.sides, self.place, **settings)]
        parts += beside(evidence, self.sides, self.beside, **settings)
        verdict = decide(self, evidence, parts, listed(self.missing), sweep_command(evidence, self.run))
        if not (verdict.parts and self.needs == "suites" and evidence.left_out_suites()):
            return verdict
        return verdict.with_reason(f"It rests on {', '.join(evidence.suite_names())} alone.")
