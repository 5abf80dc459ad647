"""C12: CAR-FT adds to weight averaging."""

from __future__ import annotations

from dataclasses import replace

from reports.analysis.contrasts import Contrast, every_suite, pool
from reports.claims.rules import Claim, Verdict, decide, mean_parts, supporting
from reports.evidence.evidence import WISE, WISE_CAR, Evidence

FIXED_ALPHA = 0.5


class WeightAveraging(Claim):
    """WiSE-FT of CAR-FT minus WiSE-FT of FT at the fixed alpha."""

    def decide(self, evidence: Evidence) -> Verdict:
        half, half_car = replace(WISE, alpha=FIXED_ALPHA), replace(WISE_CAR, alpha=FIXED_ALPHA)
        fixed, chosen = Contrast(half_car, half, "top1", every_suite), Contrast(WISE_CAR, WISE, "top1", every_suite)
        name = "WiSE(CAR-FT) - WiSE(FT), OOD"
        parts = [
            *mean_parts(evidence, fixed, f"{name}, alpha 0.5"),
            *supporting(
                pool(evidence, Contrast(half_car, half), "WiSE(CAR-FT) - WiSE(FT), ID, alpha 0.5", deciding=False),
                pool(evidence, chosen, f"{name}, alpha by validation", deciding=False),
            ),
        ]
        return decide(self, evidence, parts, "wise_ft of ft and of car_ft")


CLAIM = WeightAveraging(
    id="C12",
    title="CAR-FT adds to weight averaging",
    statement="WiSE-FT of CAR-FT beats WiSE-FT of fine-tuning out of distribution.",
    rule=(
        "WiSE(CAR-FT) minus WiSE(FT) at alpha 0.5 (fixed in advance), top-1, mean over suites and"
        " tasks: lower bound above 0."
    ),
    source="question of this audit; WiSE-FT (arXiv 2109.01903) recommends alpha 0.5 when nothing is known",
    margin_points=0.0,
    asked_of=("nine", "single", "imagenet"),
    needs="suites",
)
