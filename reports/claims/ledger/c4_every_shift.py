"""C4: out of distribution CAR-FT beats fine-tuning on every shift."""

from __future__ import annotations

from reports.analysis.contrasts import Contrast, Part, pool, suite_set
from reports.claims.references import decide_every_suite
from reports.claims.rules import Claim, Reference, Verdict, supporting
from reports.evidence.evidence import CAR_FT, FT, Evidence


class EveryShift(Claim):
    """CAR-FT minus FT on each suite."""

    def decide(self, evidence: Evidence) -> Verdict:
        return decide_every_suite(self, evidence, FT, "ft and car_ft")

    def gains(self, evidence: Evidence) -> list[Part]:
        return supporting(
            *(
                pool(evidence, Contrast(CAR_FT, FT, "top1", suite_set(suite)), f"CAR-FT - FT, {suite}")
                for suite in evidence.suite_names()
            )
        )


CLAIM = EveryShift(
    id="C4",
    title="OOD accuracy is higher on every shift",
    statement="Out of distribution, CAR-FT beats fine-tuning on each of the five shifts.",
    rule=(
        "CAR-FT minus FT, top-1, per suite, mean over tasks: all five lower bounds above 0 "
        "(intersection-union, no correction)."
    ),
    source="abstract of arXiv 2211.16175",
    margin_points=0.0,
    asked_of=("nine", "single", "imagenet"),
    needs="suites",
    references=(
        Reference("ood/imagenet-v2", "ImageNet-V2", "CAR-FT - FT", 1.46),
        Reference("ood/imagenet-r", "ImageNet-R", "CAR-FT - FT", 6.84),
        Reference("ood/imagenet-a", "ImageNet-A", "CAR-FT - FT", 10.3),
        Reference("ood/imagenet-sketch", "ImageNet-Sketch", "CAR-FT - FT", 5.0),
        Reference("ood/mean", "avg4(V2,R,A,Sketch)", "CAR-FT - FT", 5.9),
    ),
    topic="Out of distribution",
    gain="suites",
)
