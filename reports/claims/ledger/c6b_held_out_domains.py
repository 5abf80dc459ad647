"""C6b: on domains that training never saw CAR-FT beats fine-tuning."""

from __future__ import annotations

from reports.analysis.contrasts import Contrast, every_suite
from reports.claims.rules import MeanClaim
from reports.evidence.evidence import CAR_FT, FT

CLAIM = MeanClaim(
    id="C6b",
    title="Higher than plain fine-tuning on held-out domains",
    statement="On domains that training never saw, CAR-FT is more accurate than plain fine-tuning.",
    rule=(
        "CAR-FT minus FT, top-1 on the held-out domain, mean over domains, winners by training-"
        "domain validation: lower bound above 0."
    ),
    source=(
        "what 'superior out-of-distribution performance' says of DomainBed, where no number of "
        "plain fine-tuning is first-hand"
    ),
    margin_points=0.0,
    asked_of=("domainbed",),
    needs="suites",
    topic="Out of distribution",
    presumes="forgetting",
    contrast=Contrast(CAR_FT, FT, "top1", every_suite),
    name="CAR-FT - FT, mean of held-out domains",
)
