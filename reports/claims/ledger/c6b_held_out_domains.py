"""C6b: on domains that training never saw CAR-FT beats fine-tuning."""

from __future__ import annotations

from reports.analysis.contrasts import Contrast, every_suite, pool
from reports.claims.rules import Claim, Verdict, decide
from reports.evidence.evidence import CAR_FT, FT, Evidence


class HeldOutDomains(Claim):
    """CAR-FT minus plain fine-tuning on held-out domains."""

    def decide(self, evidence: Evidence) -> Verdict:
        gain = Contrast(CAR_FT, FT, "top1", every_suite)
        return decide(self, evidence, [pool(evidence, gain, "CAR-FT - FT, mean of held-out domains")], "ft and car_ft")


CLAIM = HeldOutDomains(
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
)
