"""How the interval of a part of a verdict comes about, for those who compute it again."""

from __future__ import annotations

import math
from typing import Any

from reports.analysis.contrasts import Part
from reports.stats.intervals import LEVEL


def computed_words(part: Part) -> str:
    """The interval as effect -/+ quantile x standard error, in points; why there is none where it has none."""
    estimate = part.estimate
    if not math.isfinite(estimate.se):
        return f"{100 * estimate.effect:+.3f} points; no interval, which needs two seeds and two groups"
    quantile = estimate.quantile((1 + LEVEL) / 2)
    return (
        f"{100 * estimate.effect:+.3f} -/+ {quantile:.3f} x {100 * estimate.se:.3f} "
        f"= {100 * part.low:+.3f} to {100 * part.high:+.3f} points"
    )


def variance_rows(part: Part) -> list[dict[str, Any]]:
    """The terms of the variance of the effect, in points squared, with degrees of freedom."""
    return [
        {
            "source": source,
            "variance": 1e4 * variance if math.isfinite(variance) else None,
            "degrees of freedom": degrees if math.isfinite(degrees) else None,
        }
        for source, (variance, degrees) in part.estimate.terms.items()
    ]


def variance_words(part: Part) -> str:
    """The same in a line: ``groups 0.52 (36.0 degrees of freedom), seeds 0.11 (2.0)``."""
    words: list[str] = []
    for source, (variance, degrees) in part.estimate.terms.items():
        size = f"{1e4 * variance:.3g}" if math.isfinite(variance) else "unknown"
        unit = " degrees of freedom" if not words else ""
        words.append(f"{source} {size}" + (f" ({degrees:.1f}{unit})" if math.isfinite(degrees) else ""))
    return ", ".join(words)
