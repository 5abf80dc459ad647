"""C11: whether the gain hangs on a choice that the paper leaves open."""

from __future__ import annotations

from collections.abc import Sequence

from reports.evidence import Evidence
from reports.readings import ASKED, Specified, holding, opposed, specifications
from reports.rules import Answer, Claim, Verdict, not_run


def no_choice(claim: Claim, evidence: Evidence) -> Verdict:
    """C11: C3, C4 and C5 under every reading."""
    found = specifications(evidence)
    if len(found) < 2:
        return not_run(claim, evidence, "readings other than the default", "python cli.py sweep readings")
    asked = [c for c in ASKED if all(c in s.parts for s in found)]
    answer, reason = _answer(found, asked)
    weakest = min((p for s in found for p in s.parts.get("C4", s.parts["C3"])), key=lambda p: p.slack)
    reading = next(s.label for s in found if any(weakest is p for parts in s.parts.values() for p in parts))
    shares = ", ".join(f"{c} {len(holding(found, c))} of {len(found)}" for c in asked)
    estimate = weakest.estimate
    return Verdict(
        claim=claim.id,
        title=claim.title,
        verdict=answer,
        scale=evidence.scale,
        effect=estimate.effect,
        low=weakest.low,
        high=weakest.high,
        n_tasks=len(weakest.tasks),
        n_seeds=estimate.n_seeds,
        n_groups=estimate.n_groups,
        smallest_visible=estimate.smallest_visible(),
        floor=estimate.floor(),
        reason=f"{reason} Holds in: {shares} readings.",
        headline=f"{weakest.name}, under {reading} (weakest)",
        cells=tuple(dict.fromkeys(cell for s in found for p in s.shown.values() for cell in p.cells)),
        scope=evidence.name,
    )


def _answer(found: Sequence[Specified], asked: Sequence[str]) -> tuple[Answer, str]:
    unequal = [t for s in found for parts in s.parts.values() for p in parts for t in p.unequal]
    if unequal:
        return "not comparable", f"{'; '.join(dict.fromkeys(unequal))}."
    if all(s.answer(c) == "reproduced" for s in found for c in asked):
        return "reproduced", f"{', '.join(asked)} hold under all {len(found)} readings."
    for claim in asked:
        holds, against = holding(found, claim), opposed(found, claim)
        if holds and against:
            words = f"{claim} holds under {holds[0].label} and is contradicted under {against[0].label}."
            return "contradicted", words
    return "inconclusive", "No claim both holds and is contradicted, and not all hold everywhere."
