"""C1, C2 and C8: what happens to context recognition, and whether it is the context that matters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from carft.spec.registry import METHODS
from reports.analysis.contrasts import Contrast, Part, every_set, every_suite, id_test, pool, sampled
from reports.analysis.levels import ContextRecognition
from reports.claims.rules import CANNOT_BE_ASKED, Claim, Verdict, decide, not_run, supporting
from reports.evidence.evidence import CAR_FT, FT, ZERO_SHOT, Entry, Evidence

#: what takes the place of contexts in each control of C8
CONTROLS = {
    "kd": "the class distribution",
    "feature_kd": "the image features",
    "lipsum_ft": "random text",
    "car_ft_permuted": "the contexts of other images of the batch",
    "car_ft_random": "random unit vectors",
}


def corrupts(claim: Claim, evidence: Evidence) -> Verdict:
    """C1: FT minus zero-shot."""
    whole, name = Contrast(FT, ZERO_SHOT, "context", every_set), "FT - zero-shot, all sets"
    suites = Contrast(FT, ZERO_SHOT, "context", every_suite)
    ours = {"deciding": False, "side": "below"}
    parts = [
        pool(evidence, whole, name, side="below"),
        *supporting(
            sampled(evidence, whole, name, side="below"),
            pool(evidence, Contrast(FT, ZERO_SHOT, "context", id_test), "FT - zero-shot, ID test", **ours),
            pool(evidence, suites, "FT - zero-shot, all suites", **ours),
        ),
    ]
    return require_recognition(decide(claim, evidence, parts, "zeroshot and ft"), evidence)


def keeps(claim: Claim, evidence: Evidence) -> Verdict:
    """C2: CAR-FT minus FT, and CAR-FT within the margin of zero-shot."""
    over, kept = Contrast(CAR_FT, FT, "context", every_set), Contrast(CAR_FT, ZERO_SHOT, "context", every_set)
    ours: dict[str, Any] = {"deciding": False, "margin": -claim.margin}
    parts = [
        pool(evidence, over, "CAR-FT - FT"),
        pool(evidence, kept, "CAR-FT - zero-shot", margin=-claim.margin),
        *supporting(
            sampled(evidence, over, "CAR-FT - FT"),
            sampled(evidence, kept, "CAR-FT - zero-shot", margin=-claim.margin),
            pool(evidence, Contrast(CAR_FT, ZERO_SHOT, "context", id_test), "CAR-FT - zero-shot, ID test", **ours),
            pool(
                evidence, Contrast(CAR_FT, ZERO_SHOT, "context", every_suite), "CAR-FT - zero-shot, all suites", **ours
            ),
        ),
    ]
    return require_recognition(decide(claim, evidence, parts, "zeroshot, ft and car_ft"), evidence)


def require_recognition(verdict: Verdict, evidence: Evidence) -> Verdict:
    """The verdict on a claim about context recognition; cannot be asked here unless zero-shot is above chance."""
    recognition = ContextRecognition.of(evidence)
    if verdict.verdict == "not run" or recognition is None or recognition.is_above_chance:
        return verdict
    words = recognition.words
    reason = (
        f"{words[:1].upper()}{words[1:]}, which is not above chance by more than its interval: fine-tuning has no "
        f"recognition to lose here. Without this rule: {verdict.verdict}. {verdict.reason}"
    )
    return replace(verdict, verdict=CANNOT_BE_ASKED, reason=reason)


def matters(claim: Claim, evidence: Evidence) -> Verdict:
    """C8: CAR-FT minus each control, out of distribution, at equal budget."""
    parts: list[Part | None] = []
    missing = [name for name in CONTROLS if not _was_run(evidence, name)]
    for name in CONTROLS:
        if name not in missing:
            label = f"CAR-FT - {METHODS[name].label}"
            rival = Entry(name)
            parts.append(pool(evidence, Contrast(CAR_FT, rival, "top1", every_suite), f"{label}, mean of suites"))
            parts += supporting(
                pool(evidence, Contrast(CAR_FT, rival), f"{label}, ID test", deciding=False),
                pool(evidence, Contrast(CAR_FT, rival, "context", every_set), f"{label}, contexts", deciding=False),
            )
    if missing or None in parts:
        wanted = ",".join(["zeroshot", "ft", "car_ft", *CONTROLS])
        command = f"{evidence.scope.command if evidence.scope else ''} --methods {wanted}".strip()
        gone = ", ".join(f"{name} ({CONTROLS[name]})" for name in missing) or "car_ft"
        return not_run(claim, evidence, f"controls {gone}", command)
    return decide(claim, evidence, parts, "")


def _was_run(evidence: Evidence, method: str) -> bool:
    return method in METHODS and any(evidence.cells(task, Entry(method)) for task in evidence.tasks)
