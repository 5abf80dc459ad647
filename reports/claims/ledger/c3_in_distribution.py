"""C3: in distribution CAR-FT is no worse than fine-tuning."""

from __future__ import annotations

import math
from dataclasses import replace

from reports.analysis.contrasts import Contrast, Part, pool
from reports.claims.references import against_references, reported
from reports.claims.rules import Claim, Reference, Verdict, decide, mean_parts, supporting
from reports.evidence.evidence import CAR_FT, FT, Evidence


class InDistribution(Claim):
    """Non-inferiority on the test sets; superiority stands beside it."""

    def decide(self, evidence: Evidence) -> Verdict:
        contrast, name = Contrast(CAR_FT, FT), "CAR-FT - FT, ID test"
        others = reported(self, evidence, "test")
        parts = mean_parts(evidence, contrast, name, margin=-self.margin, reported=others)
        verdict = decide(self, evidence, parts, "ft and car_ft")
        if verdict.verdict in ("not comparable", "not run") or verdict.low is None or math.isnan(verdict.low):
            return verdict
        superior = "also superior" if verdict.low > 0 else "not shown to be superior"
        words = f"{verdict.reason} CAR-FT is {superior} (lower bound against 0)."
        return replace(verdict, reason=words + against_references(self, evidence, {"test": verdict.parts[0]}))

    def gains(self, evidence: Evidence) -> list[Part]:
        return supporting(pool(evidence, Contrast(CAR_FT, FT), "ID test", margin=-self.margin))


CLAIM = InDistribution(
    id="C3",
    title="ID accuracy is no worse",
    statement="In distribution, CAR-FT is no worse than fine-tuning.",
    rule="CAR-FT minus FT, top-1 on the test sets, mean over tasks: lower bound above -0.5 points (non-inferiority).",
    source="abstract of arXiv 2211.16175 ('higher'); the margin is this audit's",
    margin_points=0.5,
    asked_of=("nine", "single", "imagenet"),
    needs="test",
    references=(Reference("test", "ImageNet", "CAR-FT - FT", 0.44),),
    topic="In distribution",
    gain="ID test",
)
