"""C3, C4, C4b, C5 and C12: accuracy in and out of distribution."""

from __future__ import annotations

import math
from dataclasses import replace

from carft.spec.registry import METHODS
from reports.analysis.contrasts import OF_CARD, Contrast, Part, every_suite, parts_of_tasks, pool, sampled, suite_set
from reports.claims.rules import Claim, Verdict, decide, supporting
from reports.evidence.evidence import CAR_FT, FT, WISE, WISE_CAR, ZERO_SHOT, Entry, Evidence
from reports.stats.ranks import sign_test

FIXED_ALPHA = 0.5


def in_distribution(claim: Claim, evidence: Evidence) -> Verdict:
    """C3: non-inferiority on the test sets; superiority stated beside it."""
    contrast, name = Contrast(CAR_FT, FT), "CAR-FT - FT, ID test"
    parts = [
        pool(evidence, contrast, name, margin=-claim.margin, reported=_reported(claim, evidence, "test")),
        *supporting(sampled(evidence, contrast, name, margin=-claim.margin)),
    ]
    verdict = decide(claim, evidence, parts, "ft and car_ft")
    if verdict.verdict in ("not comparable", "not run") or verdict.low is None or math.isnan(verdict.low):
        return verdict
    superior = "also superior" if verdict.low > 0 else "not shown to be superior"
    words = f"{verdict.reason} CAR-FT is {superior} (lower bound against 0)."
    return replace(verdict, reason=words + _against_references(claim, evidence, {"test": verdict.parts[0]}))


def every_shift(claim: Claim, evidence: Evidence) -> Verdict:
    """C4: CAR-FT minus FT on each suite."""
    return _per_suite(claim, evidence, FT, "ft and car_ft")


def above_zero_shot(claim: Claim, evidence: Evidence) -> Verdict:
    """C4b: CAR-FT minus zero-shot on each suite."""
    return _per_suite(claim, evidence, ZERO_SHOT, "zeroshot and car_ft")


def _per_suite(claim: Claim, evidence: Evidence, rival: Entry, missing: str) -> Verdict:
    every = Contrast(CAR_FT, rival, "top1", every_suite)
    sides = f"CAR-FT - {METHODS[rival.method].label}"
    suites = {
        suite: pool(
            evidence,
            Contrast(CAR_FT, rival, "top1", suite_set(suite)),
            f"{sides}, {suite}",
            reported=_reported(claim, evidence, f"ood/{suite}"),
        )
        for suite in evidence.suite_names()
    }
    mean = f"{sides}, mean of suites"
    parts = [
        *suites.values(),
        *supporting(pool(evidence, every, mean, deciding=False), sampled(evidence, every, mean)),
    ]
    verdict = decide(claim, evidence, parts, missing)
    measured = {f"ood/{suite}": part for suite, part in suites.items() if part is not None}
    four = [r["set"] for r in claim.references if r["set"] in measured]
    if len(four) > 1 and len(four) < len(suites):  # the table's mean leaves out the shift that it has no number for
        of_four = pool(evidence, Contrast(CAR_FT, rival, "top1", lambda *_: four), f"{sides}, mean of {len(four)}")
        measured |= {"ood/mean": of_four} if of_four else {}
    return replace(verdict, reason=verdict.reason + _against_references(claim, evidence, measured))


def _is_that_of_the_references(evidence: Evidence) -> bool:
    """Whether the scope is that of the reference table: ImageNet at paper scale with the table's model."""
    starts = evidence.scope is not None and evidence.scope.is_of_references
    return starts and evidence.tasks == ["imagenet"]


def _reported(claim: Claim, evidence: Evidence, name: str) -> float | None:
    """The effect that others report on a set, in the scope that they report it of."""
    return claim.reference(name) if _is_that_of_the_references(evidence) else None


def _against_references(claim: Claim, evidence: Evidence, parts: dict[str, Part]) -> str:
    """At paper scale, with the model of the reference table: whether each reference gap lies in the interval."""
    if not _is_that_of_the_references(evidence):
        return ""
    words = []
    for name, part in parts.items():
        gap = claim.reference(name)
        if gap is not None:
            inside = "inside" if part.low <= gap <= part.high else "outside"
            words.append(f"{name.removeprefix('ood/')} {100 * gap:+.2f} {inside}")
    return f" Reference gaps (secondary) against these intervals: {', '.join(words)}." if words else ""


def all_nine(claim: Claim, evidence: Evidence) -> Verdict:
    """C5: one deciding part per task, in the metric of the task's card; top-1 stands beside another metric."""
    contrast, mean = Contrast(CAR_FT, FT, OF_CARD), "CAR-FT - FT, mean of tasks"
    found = contrast.estimate(evidence)
    parts: list[Part | None] = [*parts_of_tasks(evidence, found, "CAR-FT - FT, ")]
    parts += supporting(pool(evidence, contrast, mean, deciding=False), sampled(evidence, contrast, mean))
    others = {task for task, metric in found.metrics.items() if metric != "top1"}
    if others:
        plain = parts_of_tasks(evidence, Contrast(CAR_FT, FT).estimate(evidence), "CAR-FT - FT, ")
        parts += [replace(p, name=f"{p.name}, top-1", deciding=False) for p in plain if p.tasks[0] in others]
    verdict = decide(claim, evidence, parts, "ft and car_ft")
    if verdict.verdict == "not run" or not found.estimates:
        return verdict
    effects = [estimate.effect for estimate, _ in found.estimates.values()]
    gained = f"{sum(e > 0 for e in effects)} of {len(effects)} tasks gain"
    words = f"{verdict.reason} {gained} (sign test p = {sign_test(effects):.2f})."
    if others:
        by = ", ".join(evidence.label(task) for task in found.estimates if task in others)
        words += f" Decided on mean per class, the usual metric of: {by}; top-1 stands beside it."
    return replace(verdict, reason=words)


def weight_averaging(claim: Claim, evidence: Evidence) -> Verdict:
    """C12: WiSE-FT of CAR-FT minus WiSE-FT of FT at the fixed alpha."""
    half, half_car = replace(WISE, alpha=FIXED_ALPHA), replace(WISE_CAR, alpha=FIXED_ALPHA)
    fixed, chosen = Contrast(half_car, half, "top1", every_suite), Contrast(WISE_CAR, WISE, "top1", every_suite)
    name = "WiSE(CAR-FT) - WiSE(FT), OOD"
    parts = [
        pool(evidence, fixed, f"{name}, alpha 0.5"),
        *supporting(
            sampled(evidence, fixed, f"{name}, alpha 0.5"),
            pool(evidence, Contrast(half_car, half), "WiSE(CAR-FT) - WiSE(FT), ID, alpha 0.5", deciding=False),
            pool(evidence, chosen, f"{name}, alpha by validation", deciding=False),
        ),
    ]
    return decide(claim, evidence, parts, "wise_ft of ft and of car_ft")
