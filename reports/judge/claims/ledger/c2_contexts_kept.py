"""C2: CAR-FT keeps context recognition."""

from reports.judge.claims.claim import Claim, Verdict
from reports.judge.claims.rules import beside, decide
from reports.judge.contrasts.contrast import Contrast, every_set, every_suite, id_test, pool, sampled
from reports.judge.entry import CAR_FT, FT, ZERO_SHOT
from reports.judge.evidence import Evidence

#: points that CAR-FT may lie below zero-shot; this audit's
MARGIN = 2.0
BESIDE = {
    "ID test": Contrast(CAR_FT, ZERO_SHOT, "context", id_test),
    "all suites": Contrast(CAR_FT, ZERO_SHOT, "context", every_suite),
}


class ContextsKept(Claim):
    """CAR-FT minus FT, and CAR-FT within the margin of zero-shot."""

    def decide(self, evidence: Evidence) -> Verdict:
        over, kept = Contrast(CAR_FT, FT, "context", every_set), Contrast(CAR_FT, ZERO_SHOT, "context", every_set)
        parts = [
            pool(evidence, over, "CAR-FT - FT"),
            pool(evidence, kept, "CAR-FT - zero-shot", margin=-self.margin),
            *sampled(evidence, over, "CAR-FT - FT"),
            *sampled(evidence, kept, "CAR-FT - zero-shot", margin=-self.margin),
            *beside(evidence, "CAR-FT - zero-shot", BESIDE, margin=-self.margin),
        ]
        return decide(self, evidence, parts, "zeroshot, ft and car_ft")


CLAIM = ContextsKept(
    id="C2",
    title="CAR-FT keeps context recognition",
    statement=f"CAR-FT recognises contexts better than fine-tuning and within {MARGIN:g} points of zero-shot.",
    rule=(
        "CAR-FT minus FT: lower bound above 0; and CAR-FT minus zero-shot: lower bound above "
        f"-{MARGIN:g} points. Both must hold."
    ),
    source=(
        "abstract of arXiv 2211.16175: the context-aware ability is 'inherited into downstream "
        f"tasks'; the {MARGIN:g} points are this audit's"
    ),
    margin_points=MARGIN,
    has_own_margin=True,
    asked_of=("several", "single", "imagenet", "domainbed"),
    needs="contexts",
    topic="Context recognition",
    headline="direction",
    presumes="recognition",
)
