"""Claims on every shift, and the gaps that others report, against which they are read at the paper's scale."""

from __future__ import annotations

from dataclasses import replace

from carft.spec.registry import METHODS
from reports.analysis.contrasts import Contrast, Part, every_suite, pool, sampled, suite_set
from reports.claims.rules import Claim, Verdict, decide, supporting
from reports.evidence.evidence import CAR_FT, Entry, Evidence


def decide_every_suite(claim: Claim, evidence: Evidence, rival: Entry, missing: str) -> Verdict:
    """The verdict on CAR-FT minus a rival on each suite of a scope. missing: what to run where a side is absent."""
    every = Contrast(CAR_FT, rival, "top1", every_suite)
    sides = f"CAR-FT - {METHODS[rival.method].label}"
    suites = {
        suite: pool(
            evidence,
            Contrast(CAR_FT, rival, "top1", suite_set(suite)),
            f"{sides}, {suite}",
            reported=reported(claim, evidence, f"ood/{suite}"),
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
    four = [r.set for r in claim.references if r.set in measured]
    if len(four) > 1 and len(four) < len(suites):  # the table's mean leaves out the shift that it has no number for
        of_four = pool(evidence, Contrast(CAR_FT, rival, "top1", lambda *_: four), f"{sides}, mean of {len(four)}")
        measured |= {"ood/mean": of_four} if of_four else {}
    return replace(verdict, reason=verdict.reason + against_references(claim, evidence, measured))


def _is_that_of_the_references(evidence: Evidence) -> bool:
    """Whether the scope is that of the reference table: ImageNet at paper scale with the table's model."""
    starts = evidence.scope is not None and evidence.scope.is_of_references
    return starts and evidence.tasks == ["imagenet"]


def reported(claim: Claim, evidence: Evidence, name: str) -> float | None:
    """The effect that others report on a set, in the scope that they report it of."""
    return claim.reference(name) if _is_that_of_the_references(evidence) else None


def against_references(claim: Claim, evidence: Evidence, parts: dict[str, Part]) -> str:
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
