"""The ledger, the rule that turns deciding parts into a verdict, its power, and claims that means decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from carft.config.registry import METHODS
from carft.core.source import declared
from reports.analysis.contrasts import Contrast, Part, every_suite, pool, sampled, suite_set
from reports.analysis.forgetting import equivalence_of
from reports.claims.claim import NO_DIFFERENCE, WORDS, Claim, Direction, Gain, Verdict
from reports.evidence.evidence import CAR_FT, Entry, Evidence
from reports.stats.intervals import POWER, Estimate
from reports.stats.power import power_words, replicates
from reports.stats.ranks import ONE_SIDED, holm_one_sided, untailed

#: below this a claim is not decidable at this size
ENOUGH = 0.20
MOST_REPLICATES = 50
MOST_GROUPS = 64
MORE_REPLICATES = 10


@cache
def ledger() -> dict[str, Claim]:
    """Claim id -> claim: every one of the modules in ``reports/claims/ledger``, by number."""
    claims = declared("reports.claims.ledger", Claim)
    claims.sort(key=lambda claim: (int("".join(filter(str.isdigit, claim.id))), claim.id))
    return {claim.id: claim for claim in claims}


def gain_claims() -> list[Claim]:
    """The claims that CAR-FT gains over FT."""
    return [claim for claim in ledger().values() if claim.gain]


def gain_claim(gain: Gain) -> Claim:
    """The claim of one gain."""
    return next(claim for claim in gain_claims() if claim.gain == gain)


def not_run(claim: Claim, evidence: Evidence, missing: str, command: str = "") -> Verdict:
    """The verdict where evidence is missing: what, and the command that makes it."""
    command = command or sweep_command(evidence)
    return Verdict(claim, evidence.scale, missing=missing, scope=evidence.name, command=command)


def sweep_command(evidence: Evidence, methods: Iterable[str] = ()) -> str:
    """The sweep that fills a scope. methods: those that it must run; none for those that it runs by itself."""
    sweep = evidence.scope.command if evidence.scope else "python cli.py sweep downstream"
    named = dict.fromkeys(("zeroshot", *methods))
    plugin = " --plugin FILE" if any(evidence.archive.catalog.method(name).digest for name in named) else ""
    return f"{sweep} --methods {','.join(named)}{plugin}" if methods else sweep


def decide(claim: Claim, evidence: Evidence, wanted: Sequence[Part | None], missing: str, command: str = "") -> Verdict:
    """The verdict on deciding parts. A part that is None decides and is absent: then the claim was not run."""
    parts = tuple(part for part in wanted if part is not None)
    deciding = [part for part in parts if part.deciding]
    if not deciding or None in wanted:
        return not_run(claim, evidence, missing, command)
    weakest, margin = weakest_of(deciding), equivalence_of(evidence, claim.needs, deciding)
    direction, finding = direction_of(deciding, margin)
    plain = [part.plain() for part in deciding]
    by_plain = direction_of(plain, equivalence_of(evidence, claim.needs, plain))[0]
    if by_plain != direction:
        finding += (
            " By the plain variance sum with Satterthwaite's t, the rule set in advance, it would be "
            f"{WORDS[by_plain][0]}."
        )
    gaps = [
        f"{part.name.partition(', ')[2]} {100 * part.reported:+.2f} "
        f"{'inside' if part.low <= part.reported <= part.high else 'outside'}"
        for part in deciding
        if part.reported is not None
    ]
    if gaps:
        finding += f" Reference gaps (secondary) against these intervals: {', '.join(gaps)}."
    power, unit = claim_power(deciding), evidence.card(evidence.tasks[0]).group
    is_weak = power < ENOUGH and direction == "open"
    # a contradiction is shown by the part that contradicts most surely
    shown = min(deciding, key=lambda part: part.p_against) if direction == "against" else weakest
    return replace(
        Verdict.on(shown, claim, evidence, direction, finding),
        unequal=tuple(dict.fromkeys(text for part in deciding for text in part.unequal)),
        damage=tuple(dict.fromkeys(text for part in deciding for text in part.flaws)),
        underpowered=weak_words(deciding, power, unit) if is_weak else "",
        equivalence=margin if direction == NO_DIFFERENCE else None,
        parts=parts,
        cells=tuple(dict.fromkeys(cell for part in parts for cell in part.cells)),
        power=power_words(shown.estimate, unit, shown.margin),
        n_searches=min(part.estimate.n_searches for part in deciding) if shown.estimate.n_seeds else 0,
        power_to_show=None if math.isnan(power) else power,
        metric=shown.metric,
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
        return "against", f"The whole interval lies on the other side{after} for: {listed(opposed, deciding)}."
    beyond = [part for part in deciding if part.is_beyond]
    undecided = [part for part in deciding if part.slack <= 0 and not part.is_beyond]
    words = [f"The interval reaches the margin for: {listed(undecided, deciding)}."] if undecided else []
    if beyond:
        after = f"but not after Holm over {len(deciding)}"
        words.append(f"It lies on the other side, {after}, for: {listed(beyond, deciding)}.")
    if equivalence is not None:
        every = "The whole interval lies" if len(deciding) == 1 else f"All {len(deciding)} intervals lie"
        within = f"{every} within {100 * equivalence:.2g} points of 0, the margin of equivalence."
        return NO_DIFFERENCE, " ".join([within, *words])
    return "open", " ".join(words)


def listed(some: Sequence[Part], deciding: Sequence[Part]) -> str:
    """Names of some of the deciding parts, without the contrast where all of them share it."""
    if len(some) == len(deciding) > 1:
        return f"every one of the {len(deciding)}"
    shared = {part.name.partition(", ")[0] for part in deciding}
    short = len(deciding) > 1 and len(shared) == 1
    return ", ".join(part.name.partition(", ")[2] if short else part.name for part in some)


def supporting(*parts: Part | None) -> list[Part]:
    """Parts that decide nothing; those that are not there are left out."""
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
        shown = (pool(evidence, c, name, deciding=False, **settings) for name, c in self.beside.items())
        verdict = decide(self, evidence, [*parts, *supporting(*shown)], self.missing, sweep_command(evidence, self.run))
        if not (verdict.parts and self.needs == "suites" and evidence.left_out_suites()):
            return verdict
        return replace(verdict, finding=f"{verdict.finding} It rests on {', '.join(evidence.suite_names())} alone.")


@dataclass(frozen=True, kw_only=True)
class EverySuite(Claim):
    """CAR-FT minus a rival on each suite of a scope, mean over tasks."""

    rival: Entry
    missing: str
    """What to run where a side is absent."""

    def decide(self, evidence: Evidence) -> Verdict:
        if left_out := evidence.left_out_suites():
            verdict = not_run(self, evidence, f"{self.missing} on {', '.join(left_out)}, which --suites left out")
            asked = ",".join((*evidence.suite_names(), *left_out))
            return replace(verdict, command=f"{verdict.command} --suites {asked}")
        sides, parts = f"CAR-FT - {METHODS[self.rival.method].label}", []
        for suite in evidence.suite_names():
            contrast = Contrast(CAR_FT, self.rival, "top1", suite_set(suite))
            reported = self.reported(evidence, f"ood/{suite}")
            parts.append(pool(evidence, contrast, f"{sides}, {suite}", reported=reported))
        every, mean = Contrast(CAR_FT, self.rival, "top1", every_suite), f"{sides}, mean of suites"
        beside = [*supporting(pool(evidence, every, mean, deciding=False)), *sampled(evidence, every, mean)]
        return decide(self, evidence, [*parts, *beside], self.missing)


def claim_power(deciding: Sequence[Part]) -> float:
    """The probability that the claim comes out as the assumed effects would have it; NaN without an interval.

    All parts must show their effect at once. Tasks share nothing, so parts of different tasks multiply; parts of the
    same tasks go together, and the weakest counts, which is the most that their joint power can be. Where others report
    an effect on the other side, the claim would be contradicted, and the surest such part counts.
    """
    if not deciding or any(math.isnan(part.assumed) or math.isnan(part.estimate.se) for part in deciding):
        return math.nan
    opposed = [part for part in deciding if part.assumed < 0]
    if opposed:
        alpha = untailed(ONE_SIDED / len(deciding)) if len(deciding) > 1 else ONE_SIDED
        return max(part.estimate.power(-part.assumed, alpha) for part in opposed)
    by_tasks: dict[tuple[str, ...], float] = {}
    for part in deciding:
        by_tasks[part.tasks] = min(part.estimate.power(part.assumed), by_tasks.get(part.tasks, 1.0))
    return math.prod(by_tasks.values())


def weak_words(deciding: Sequence[Part], power: float, unit: str) -> str:
    """What was assumed, how rarely it would show, and how many seeds or images would show it in 80 % of repetitions.

    unit: what a group is called. The numbers are extrapolated.
    """
    wanted = (part.assumed if part.reported is None else part.reported for part in deciding)
    sizes = sorted({round(abs(100 * effect), 2) for effect in wanted})
    size = f"{sizes[0]:g}" if len(sizes) == 1 else f"{sizes[0]:g} to {sizes[-1]:g}"
    whose = "that others report" if any(part.reported is not None for part in deciding) else "beyond the margin"
    where = f" in all {len(deciding)} deciding parts" if len(deciding) > 1 else ""
    share = f"{100 * power:.0f}" if power >= 0.005 or power == 0 else "less than 0.5"

    def shown(seeds: float, groups: float) -> float:
        return claim_power([replace(part, estimate=part.estimate.scaled(seeds, groups)) for part in deciding])

    estimate = min((part.estimate for part in deciding), key=lambda one: one.replicates)
    return (
        f"A true effect of {size} points {whose}{where} would show in {share} % of repetitions. "
        f"{needed(shown, estimate, unit)}"
    )


def needed(shown: Callable[[float, float], float], now: Estimate, unit: str) -> str:
    """The least number of replicates, of groups, or of both, at which ``shown`` reaches 80 %, in a sentence.

    shown: power at so many times the replicates and the groups. now: has the replicates there are. unit: what a group
    is called.
    """
    many, kind = now.replicates, replicates(now)
    seeds = next((n for n in range(many + 1, MOST_REPLICATES + 1) if shown(n / many, 1.0) >= POWER), None)
    groups = next((k for k in range(2, MOST_GROUPS + 1) if shown(1.0, k) >= POWER), None)
    ways = [f"{seeds} {kind}"] * (seeds is not None) + [f"{groups} times the {unit}s"] * (groups is not None)
    if ways:
        return f"To show it in 80 % of repetitions would take about {', or '.join(ways)}."
    for more in (max(MORE_REPLICATES, 2 * many), max(MOST_REPLICATES, 4 * many)):
        both = next((k for k in range(2, MOST_GROUPS + 1) if shown(more / many, k) >= POWER), None)
        if both is not None:
            return f"To show it in 80 % of repetitions would take about {more} {kind} and {both} times the {unit}s."
    return f"{more} {kind} and {MOST_GROUPS} times the {unit}s would not show it in 80 % of repetitions."
