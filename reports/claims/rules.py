"""The rule that turns deciding parts into a verdict, and claims that one mean decides."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from reports.analysis.contrasts import Contrast, Part, pool, sampled
from reports.analysis.forgetting import equivalence_of
from reports.claims.claim import NO_DIFFERENCE, WORDS, Claim, Direction, Verdict
from reports.claims.power import ENOUGH, claim_power, power_words, weak_words
from reports.evidence.evidence import Evidence
from reports.stats.ranks import ONE_SIDED, holm, holm_one_sided


def not_run(claim: Claim, evidence: Evidence, missing: str, command: str = "") -> Verdict:
    """The verdict where evidence is missing: what, and the command that makes it."""
    command = command or sweep_command(evidence)
    return Verdict(claim, evidence.scale, missing=missing, scope=evidence.name, command=command)


def sweep_command(evidence: Evidence, methods: Iterable[str] = ()) -> str:
    """The sweep that fills a scope. methods: those that it must run; none for those that it runs by itself."""
    sweep = evidence.scope.command
    named = dict.fromkeys(("zeroshot", *methods))
    plugin = " --plugin FILE" if any(evidence.archive.catalog.method(name).digest for name in named) else ""
    return f"{sweep} --methods {','.join(named)}{plugin}" if methods else sweep


def decide(claim: Claim, evidence: Evidence, wanted: Sequence[Part | None], missing: str, command: str = "") -> Verdict:
    """The verdict on deciding parts. A part that is None decides and is absent: then the claim was not run."""
    parts = [part for part in wanted if part is not None]
    deciding = [part for part in parts if part.deciding]
    if not deciding or None in wanted:
        return not_run(claim, evidence, missing, command)
    weakest, margin = weakest_of(deciding), equivalence_of(evidence, claim.needs, deciding)
    direction, finding = direction_of(deciding, margin)
    earlier_rules = {
        "the plain variance sum with Satterthwaite's t, the rule set in advance,": [part.plain() for part in deciding],
        "the rule registered for the second audit, searches of different tasks as independent,": [
            part.with_independent_searches() for part in deciding
        ],
    }
    for rule, under_it in earlier_rules.items():
        otherwise = direction_of(under_it, equivalence_of(evidence, claim.needs, under_it))[0]
        if otherwise != direction:
            finding += f" By {rule} it would be {WORDS[otherwise][0]}."
    gaps = [
        f"{part.name.partition(', ')[2]} {100 * part.reported:+.2f} "
        f"{'inside' if part.low <= part.reported <= part.high else 'outside'}"
        for part in deciding
        if part.reported is not None
    ]
    if gaps:
        finding += f" Reference gaps (secondary) against these intervals: {', '.join(gaps)}."
    power, unit = claim_power(deciding), evidence.card(evidence.tasks[0]).group
    # a contradiction is shown by the part that contradicts most surely
    shown = min(deciding, key=lambda part: part.p_against) if direction == "against" else weakest
    return replace(
        Verdict.on(claim, evidence, parts, shown),
        direction=direction,
        finding=finding,
        underpowered=weak_words(deciding, power, unit) if power < ENOUGH else "",
        equivalence=margin if direction == NO_DIFFERENCE else None,
        power=power_words(shown.estimate, unit),
        n_searches=min(part.estimate.n_searches for part in deciding) if shown.estimate.n_seeds else 0,
        power_to_show=None if math.isnan(power) else power,
        p=p_of(deciding, direction),
    )


def p_of(deciding: Sequence[Part], direction: Direction) -> float | None:
    """One-sided p value for or against the claim: that of the direction, else the smaller; None without an interval."""
    p_for = max(part.p_for for part in deciding)
    p_against = min(holm_one_sided([part.p_against for part in deciding]))
    if math.isnan(p_for) or math.isnan(p_against):
        return None
    return {"for": p_for, "against": p_against}.get(direction, min(p_for, p_against))


def corrected_jointly(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts with Holm's correction over the primary endpoints of each scope.

    One that is for or against its claim is open where its adjusted p value is not below 2.5 %. The p values are not
    calibrated in the tail: with one term of searches the intervals hold their level there (docs/statistics.md).
    """
    primary: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.asked.is_primary and verdict.p is not None:
            primary.setdefault(verdict.scope, []).append(verdict)
    adjusted: dict[tuple[str, str], tuple[float, int]] = {}
    for scope, asked in primary.items():
        for verdict, p in zip(asked, holm([float(v.p or 0) for v in asked]), strict=True):
            adjusted[scope, verdict.claim] = p, len(asked)
    return [_adjusted(v, *adjusted[v.scope, v.claim]) if (v.scope, v.claim) in adjusted else v for v in verdicts]


def _adjusted(verdict: Verdict, p: float, count: int) -> Verdict:
    """A primary endpoint with its adjusted p value; open where that is not below 2.5 %."""
    if verdict.direction not in ("for", "against") or p < ONE_SIDED:
        return replace(verdict, p_adjusted=p)
    return replace(
        verdict,
        direction="open",
        equivalence=None,
        p_adjusted=p,
        finding=f"{verdict.finding} After Holm over {count} primary endpoints p is {100 * p:.1f} %, not below 2.5 %.",
    )


def weakest_of(parts: Sequence[Part]) -> Part:
    """The part whose interval lies least on the claimed side; one without an interval before all others."""
    without = [part for part in parts if math.isnan(part.estimate.se)]
    return without[0] if without else min(parts, key=lambda part: part.slack)


def direction_of(deciding: Sequence[Part], equivalence: float | None = None) -> tuple[Direction, str]:
    """Where the intervals of the deciding parts lie, and a sentence on it.

    For: every interval lies on the claim's side of its margin. Against: one lies on the other side, after Holm. No
    difference: neither, and a margin of equivalence holds every interval. Open: none of these.

    equivalence: the margin that every interval lies within, a share of 1; None where one does not.
    """
    if all(part.slack > 0 for part in deciding):
        if len(deciding) == 1:
            inside = deciding[0].side == "around"
            where = "The number claimed lies inside the interval." if inside else ""
            return "for", where or "The whole interval lies on the claim's side of the margin."
        return "for", (
            f"All {len(deciding)} intervals lie on the claim's side; the weakest is {weakest_of(deciding).name}."
        )
    against = holm_one_sided([part.p_against for part in deciding])
    opposed = [part for part, p in zip(deciding, against, strict=True) if p < ONE_SIDED]
    after = ", after Holm," if len(deciding) > 1 else ""
    if opposed:
        return "against", f"The whole interval lies on the other side{after} for: {part_names(opposed, deciding)}."
    beyond = [part for part in deciding if part.is_beyond]
    undecided = [part for part in deciding if part.slack <= 0 and not part.is_beyond]
    words = [f"The interval reaches the margin for: {part_names(undecided, deciding)}."] if undecided else []
    if beyond:
        after = f"but not after Holm over {len(deciding)}"
        words.append(f"It lies on the other side, {after}, for: {part_names(beyond, deciding)}.")
    if equivalence is not None:
        every = "The whole interval lies" if len(deciding) == 1 else f"All {len(deciding)} intervals lie"
        within = f"{every} within {100 * equivalence:.2g} points of 0, the margin of equivalence."
        return NO_DIFFERENCE, " ".join([within, *words])
    return "open", " ".join(words)


def part_names(some: Sequence[Part], deciding: Sequence[Part]) -> str:
    """Names of some of the deciding parts, without the contrast where all of them share it."""
    if len(some) == len(deciding) > 1:
        return f"every one of the {len(deciding)}"
    shared = {part.name.partition(", ")[0] for part in deciding}
    short = len(deciding) > 1 and len(shared) == 1
    return ", ".join(part.name.partition(", ")[2] if short else part.name for part in some)


def beside(evidence: Evidence, contrasts: Mapping[str, Contrast], **settings: Any) -> list[Part]:
    """Parts that decide nothing, by name; those that are not there are left out."""
    parts = (pool(evidence, contrast, name, deciding=False, **settings) for name, contrast in contrasts.items())
    return [part for part in parts if part is not None]


@dataclass(frozen=True, kw_only=True)
class MeanClaim(Claim):
    """A claim that one difference, mean over tasks, decides."""

    contrast: Contrast
    name: str
    """Of the deciding part: the two sides and the sets."""
    side: Literal["above", "below"] = "above"
    """On which side of the margin the whole interval must lie."""
    beside: Mapping[str, Contrast] = field(default_factory=dict)
    """Name -> contrast of the parts that stand beside it and decide nothing."""
    reported_on: str = ""
    """The set of the references whose number the effect is compared with."""
    missing: str = "ft and car_ft"
    """What to run where a side is absent."""
    run: Sequence[str] = ()
    """Methods that the sweep of a scope must name to run both sides; none where it runs them by itself."""

    def decide(self, evidence: Evidence) -> Verdict:
        settings: dict[str, Any] = {"margin": self.margin, "side": self.side}
        others = self.reported(evidence, self.reported_on)
        mean = pool(evidence, self.contrast, self.name, reported=others, **settings)
        parts = [mean, *sampled(evidence, self.contrast, self.name, reported=others, **settings)]
        parts += beside(evidence, self.beside, **settings)
        verdict = decide(self, evidence, parts, self.missing, sweep_command(evidence, self.run))
        if not (verdict.parts and self.needs == "suites" and evidence.left_out_suites()):
            return verdict
        return replace(verdict, finding=f"{verdict.finding} It rests on {', '.join(evidence.suite_names())} alone.")
