"""C3: in distribution CAR-FT is more accurate than fine-tuning."""

from __future__ import annotations

from reports.analysis.contrasts import Contrast
from reports.claims.claim import Reference
from reports.claims.rules import MeanClaim
from reports.evidence.evidence import CAR_FT, FT

CLAIM = MeanClaim(
    id="C3",
    title="ID accuracy is higher",
    statement="In distribution, CAR-FT is more accurate than fine-tuning.",
    rule="CAR-FT minus FT, top-1 on the test sets, mean over tasks: lower bound above 0.",
    source="abstract of arXiv 2211.16175",
    margin_points=0.0,
    asked_of=("nine", "single", "imagenet"),
    needs="test",
    references=(Reference("test", "ImageNet", "CAR-FT - FT", 0.44),),
    topic="In distribution",
    gain="ID test",
    contrast=Contrast(CAR_FT, FT),
    name="CAR-FT - FT, ID test",
    reported_on="test",
)
