"""C4m: out of distribution CAR-FT beats fine-tuning on the mean of the shifts, the primary part of C4."""

from __future__ import annotations

from reports.analysis.contrasts import Contrast, every_suite
from reports.claims.claim import Reference
from reports.claims.rules import MeanClaim
from reports.evidence.evidence import CAR_FT, FT

CLAIM = MeanClaim(
    id="C4m",
    title="OOD accuracy is higher on the mean of the shifts",
    statement="Out of distribution, CAR-FT beats fine-tuning on the mean of the shifts.",
    rule="CAR-FT minus FT, top-1, mean over suites and tasks: lower bound above 0.",
    source="abstract of arXiv 2211.16175; the mean is the primary part of C4, named before the second audit",
    margin_points=0.0,
    asked_of=("nine", "single", "imagenet"),
    needs="suites",
    references=(Reference("ood/mean", "avg4(V2,R,A,Sketch)", "CAR-FT - FT", 5.9),),
    topic="Out of distribution",
    presumes="forgetting",
    contrast=Contrast(CAR_FT, FT, "top1", every_suite),
    name="CAR-FT - FT, mean of suites",
)
