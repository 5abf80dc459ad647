"""C4: out of distribution CAR-FT beats fine-tuning on every shift."""

from __future__ import annotations

from reports.claims.claim import Reference
from reports.claims.rules import EverySuite
from reports.evidence.evidence import FT

CLAIM = EverySuite(
    id="C4",
    title="OOD accuracy is higher on every shift",
    statement="Out of distribution, CAR-FT beats fine-tuning on each of the five shifts.",
    rule=(
        "CAR-FT minus FT, top-1, per suite, mean over tasks: all five lower bounds above 0 "
        "(intersection-union). Contradicted if an upper bound lies below 0 after Holm."
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
    presumes="forgetting",
    rival=FT,
    missing="ft and car_ft",
)
