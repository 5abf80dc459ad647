"""Words beside verdicts: doubts, why one that looks wrong is right, how an interval is computed, changed rules."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from reports.analysis.contrasts import Part
from reports.claims.claim import CANNOT_BE_ASKED, NO_DIFFERENCE, Verdict
from reports.evidence.evidence import Evidence
from reports.stats.intervals import LEVEL
from reports.stats.ranks import ONE_SIDED


def doubt_words(unequal: Sequence[str], damage: Sequence[str]) -> str:
    """Why the evidence of a verdict or part is in doubt although there are numbers, as half a sentence."""
    if unequal or not damage:
        return "the two sides differ in more than the method" if unequal else ""
    first = re.sub(r" \([^)]*\)", "", damage[0])
    return first + (f", and {len(damage) - 1} more" if len(damage) > 1 else "")


def first_sight(verdict: Verdict) -> str:
    """Why the verdict is not what its effect and interval seem to say, in a sentence; mostly empty."""
    deciding = verdict.deciding
    if verdict.verdict == CANNOT_BE_ASKED:
        return verdict.unaskable or verdict.insensitive
    shown = verdict.shown
    if shown is None or not shown.deciding or verdict.unit != "points" or math.isnan(shown.low):
        return ""
    if doubt := doubt_words(verdict.unequal, verdict.damage):
        return f"In doubt: {doubt}."
    includes_zero, margin = shown.low <= 0 <= shown.high, f"{100 * abs(shown.margin):g} points"
    if verdict.direction == "open":  # although the interval excludes 0, or lies beyond the margin
        side = "below" if shown.high < 0 else "above"
        if shown.is_beyond and len(deciding) > 1:
            where = "beyond the margin" if shown.margin else f"{side} 0"
            return f"The interval lies {where}, but not after Holm's correction over {len(deciding)} parts."
        reaches = f"The interval lies {side} 0, but it reaches the margin of {100 * shown.margin:+g} points."
        return reaches if shown.margin and not includes_zero else ""
    if verdict.direction == NO_DIFFERENCE or not shown.margin:
        return ""
    if verdict.direction == "against" and "audit's" in verdict.asked.source:
        return f"The margin of {margin} is this audit's own."
    if verdict.direction == "for" and includes_zero:
        return f"The interval includes 0; the claim allows a loss of {margin}."
    return ""


def worst_of(verdict: Verdict) -> int:
    """Of how many deciding parts a verdict shows the worst; 0 where it has one part, or shows none of them."""
    names = [part.name for part in verdict.deciding]
    return len(names) if len(names) > 1 and verdict.headline in names else 0


def beside_worst(verdict: Verdict) -> tuple[str, Part] | None:
    """(what it is, part) beside the worst part that a verdict shows: the mean, or the best part without a mean."""
    if not worst_of(verdict):
        return None
    mean = f"{verdict.headline.partition(', ')[0]}, mean of "
    for part in verdict.parts:
        if not part.deciding and part.name.startswith(mean):
            return part.name.partition(", ")[2], part
    best = max(verdict.deciding, key=lambda part: part.slack)
    return f"best: {best.name}", best


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
    for row in variance_rows(part):
        size = "unknown" if row["variance"] is None else f"{row['variance']:.3g}"
        degrees, unit = row["degrees of freedom"], "" if words else " degrees of freedom"
        words.append(f"{row['source']} {size}" + ("" if degrees is None else f" ({degrees:.1f}{unit})"))
    return ", ".join(words)


@cache
def amendments() -> Sequence[Mapping[str, str]]:
    """Rules that were changed once results were known, oldest first: date, rule, change, and before."""
    entries = yaml.safe_load(files("reports.claims").joinpath("amendments.yaml").read_text(encoding="utf-8"))
    return [{name: str(value) for name, value in entry.items()} for entry in entries]


def judged_later_words(verdict: Verdict, evidence: Evidence) -> str:
    """The mark of a verdict by rules that were set after some cell that it rests on had finished; mostly empty."""
    newest = max(amendment["date"] for amendment in amendments())
    days = (evidence.records[cell].finished_at[:10] for cell in verdict.cells if cell in evidence.records)
    return f"judged by the rules of {newest}, set after its cells" if any("" < day < newest for day in days) else ""


def chance_words(verdicts: Sequence[Verdict]) -> str:
    """That claims are not corrected jointly, with the number of verdicts that chance alone would bring."""
    asked = [v for v in verdicts if not (v.unaskable or v.unequal)]
    count = sum(v.low is not None and math.isfinite(v.low) for v in asked)
    if not count:
        return ""
    each = 100 * ONE_SIDED
    return (
        f"Claims are not corrected jointly. {count} verdicts here rest on an interval. If every true effect lay "
        f"exactly on its margin, chance alone would be expected to make {2 * ONE_SIDED * count:.1f} of them "
        f"reproduced or contradicted ({each:g} % each way), and fewer where all parts of a claim must hold at once."
    )
