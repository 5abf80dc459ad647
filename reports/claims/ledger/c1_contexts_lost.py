"""C1: fine-tuning corrupts context recognition."""

from __future__ import annotations

from reports.analysis.contrasts import Contrast, every_set, every_suite, id_test, pool
from reports.claims.rules import Claim, Verdict, decide, mean_parts, supporting
from reports.evidence.evidence import FT, ZERO_SHOT, Evidence


class ContextsLost(Claim):
    """FT minus zero-shot in context recognition."""

    def decide(self, evidence: Evidence) -> Verdict:
        whole, name = Contrast(FT, ZERO_SHOT, "context", every_set), "FT - zero-shot, all sets"
        suites = Contrast(FT, ZERO_SHOT, "context", every_suite)
        ours = {"deciding": False, "side": "below"}
        parts = [
            *mean_parts(evidence, whole, name, side="below"),
            *supporting(
                pool(evidence, Contrast(FT, ZERO_SHOT, "context", id_test), "FT - zero-shot, ID test", **ours),
                pool(evidence, suites, "FT - zero-shot, all suites", **ours),
            ),
        ]
        return decide(self, evidence, parts, "zeroshot and ft")


CLAIM = ContextsLost(
    id="C1",
    title="Fine-tuning corrupts context recognition",
    statement="Fine-tuning lowers the share of images whose context the model recognises.",
    rule="FT minus zero-shot, context recognition, mean over the ID test set and all suites: upper bound below 0.",
    source="abstract of arXiv 2211.16175: fine-tuning 'will corrupt the context-aware ability'",
    margin_points=0.0,
    asked_of=("nine", "single", "imagenet", "domainbed"),
    needs="contexts",
    topic="Context recognition",
    needs_recognition=True,
)
