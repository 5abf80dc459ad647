"""C8r: it is the context that matters, asked of the primary control alone: random vectors."""

from __future__ import annotations

from reports.analysis.contrasts import Contrast, every_suite
from reports.claims.rules import MeanClaim
from reports.evidence.evidence import CAR_FT, RANDOM

CLAIM = MeanClaim(
    id="C8r",
    title="Contexts beat random vectors",
    statement="At equal budget CAR-FT beats the same training with random unit vectors in the place of contexts.",
    rule="CAR-FT minus CAR-FT with a random context head, top-1, mean over suites and tasks: lower bound above 0.",
    source="the primary control of C8, named before the second audit",
    margin_points=0.0,
    asked_of=("nine", "single", "imagenet", "domainbed"),
    needs="suites",
    presumes="forgetting",
    contrast=Contrast(CAR_FT, RANDOM, "top1", every_suite),
    name="CAR-FT - random contexts, mean of suites",
    missing="car_ft and car_ft_random (random unit vectors)",
    run=("ft", "car_ft", "car_ft_random"),
)
