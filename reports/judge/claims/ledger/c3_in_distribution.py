"""C3 and C3b: in distribution CAR-FT is more accurate than fine-tuning, or at least no worse."""

from reports.judge.claims.claim import Reference
from reports.judge.claims.rules import MeanClaim
from reports.judge.contrasts.contrast import Contrast
from reports.judge.entry import CAR_FT, FT

HIGHER = MeanClaim(
    id="C3",
    title="ID accuracy is higher",
    statement="In distribution, CAR-FT is more accurate than fine-tuning.",
    rule="CAR-FT minus FT, top-1 on the test sets, mean over tasks: lower bound above 0.",
    source="abstract of arXiv 2211.16175",
    asked_of=("several", "single", "imagenet"),
    needs="test",
    references=(Reference("test", "ImageNet", "CAR-FT", 0.5, minus="FT"),),
    topic="In distribution",
    headline="direction",
    gain="ID test",
    contrast=Contrast(CAR_FT, FT),
    sides="CAR-FT - FT",
    place="ID test",
)

#: points that CAR-FT may lose in distribution; this audit's
NO_WORSE_THAN = -0.5

NO_WORSE = MeanClaim(
    id="C3b",
    title="ID accuracy is no worse",
    statement="In distribution, CAR-FT is no worse than fine-tuning.",
    rule=(
        "CAR-FT minus FT, top-1 on the test sets, mean over tasks: lower bound above "
        f"{NO_WORSE_THAN:g} points (non-inferiority)."
    ),
    source="question of this audit; the margin is this audit's",
    margin_points=NO_WORSE_THAN,
    has_own_margin=True,
    is_primary=True,
    asked_of=("several", "single", "imagenet"),
    needs="test",
    references=HIGHER.references,
    topic="In distribution",
    headline="margin",
    contrast=HIGHER.contrast,
    sides=HIGHER.sides,
    place=HIGHER.place,
)
