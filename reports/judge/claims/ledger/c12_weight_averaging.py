"""C12: CAR-FT adds to weight averaging."""

from dataclasses import replace

from reports.judge.claims.rules import MeanClaim
from reports.judge.contrasts.contrast import Contrast, every_suite
from reports.judge.entry import WISE, WISE_CAR
from reports.judge.forgetting import CONTROL_ALPHA

_FIXED = replace(WISE_CAR, alpha=CONTROL_ALPHA), replace(WISE, alpha=CONTROL_ALPHA)

CLAIM = MeanClaim(
    id="C12",
    title="CAR-FT adds to weight averaging",
    statement="WiSE-FT of CAR-FT beats WiSE-FT of fine-tuning out of distribution.",
    rule=(
        "WiSE(CAR-FT) minus WiSE(FT) at alpha 0.5 (fixed in advance), top-1, mean over suites and"
        " tasks: lower bound above 0."
    ),
    source="question of this audit; WiSE-FT (arXiv 2109.01903) recommends alpha 0.5 when nothing is known",
    is_primary=True,
    asked_of=("several", "single", "imagenet"),
    needs="suites",
    presumes="forgetting",
    contrast=Contrast(*_FIXED, "top1", every_suite),
    sides="WiSE(CAR-FT) - WiSE(FT)",
    place="OOD, alpha 0.5",
    beside={
        "ID, alpha 0.5": Contrast(*_FIXED),
        "OOD, alpha by validation": Contrast(WISE_CAR, WISE, "top1", every_suite),
    },
    missing=("wise_ft of ft", "of car_ft"),
)
