"""Notes to verdicts: what keeps one undecided, and why one that looks wrong at first sight is right."""

from __future__ import annotations

import math
import re

from reports.analysis.contrasts import Part
from reports.claims.rules import CANNOT_BE_ASKED, NO_DIFFERENCE, Verdict, ledger

#: what the reason of the claim on readings says of all of them, beside the weakest
READINGS = re.compile(r"Holds in: .* readings\.")


def doubt_of(verdict: Verdict) -> str:
    """Why the evidence of a verdict is in doubt although there are numbers, as half a sentence; mostly empty."""
    if verdict.unequal or not verdict.damage:
        return "the two sides differ in more than the method" if verdict.unequal else ""
    first = re.sub(r" \([^)]*\)", "", verdict.damage[0])
    return first + (f", and {len(verdict.damage) - 1} more" if len(verdict.damage) > 1 else "")


def first_sight(verdict: Verdict) -> str:
    """Why the verdict is not what its effect and interval seem to say, in a sentence; mostly empty."""
    deciding = _deciding(verdict)
    if verdict.verdict == CANNOT_BE_ASKED:
        return "Zero-shot recognises contexts no better than chance." if verdict.unaskable else verdict.insensitive
    if not deciding and (counted := READINGS.search(verdict.finding)):
        return f"The interval is that of one reading, the verdict that of all. {counted[0]}"
    shown = next((part for part in deciding if part.name == verdict.headline), None)
    if shown is None or verdict.unit != "points" or math.isnan(shown.low):
        return ""
    if doubt := doubt_of(verdict):
        return f"In doubt: {doubt}."
    if verdict.direction == "open":
        return _open(shown, len(deciding))
    if verdict.direction == NO_DIFFERENCE or not shown.margin:
        return ""
    margin = f"{100 * abs(shown.margin):g} points"
    if verdict.direction == "against" and "audit's" in ledger()[verdict.claim].source:
        return f"The margin of {margin} is this audit's own."
    if verdict.direction == "for" and shown.low <= 0 <= shown.high:
        return f"The interval includes 0; the claim allows a loss of {margin}."
    return ""


def worst_of(verdict: Verdict) -> int:
    """Of how many deciding parts a verdict shows the worst; 0 where it has one part, or shows none of them."""
    deciding = _deciding(verdict)
    return len(deciding) if len(deciding) > 1 and verdict.headline in [part.name for part in deciding] else 0


def mean_beside(verdict: Verdict) -> Part | None:
    """The mean over what the deciding parts are of, where a verdict shows the worst of them."""
    contrast = verdict.headline.partition(", ")[0]
    means = [part for part in verdict.parts if not part.deciding and part.name.startswith(f"{contrast}, mean of ")]
    return next(iter(means), None) if worst_of(verdict) else None


def best_beside(verdict: Verdict) -> Part | None:
    """The deciding part that lies most on the claim's side, where a verdict shows the worst of them."""
    return max(_deciding(verdict), key=lambda part: part.slack) if worst_of(verdict) else None


def _open(part: Part, parts: int) -> str:
    """Why an interval that excludes zero, or lies beyond the margin, leaves a claim open."""
    side = "below" if part.high < 0 else "above"
    if part.is_beyond and parts > 1:
        where = f"{side} 0" if part.margin == 0 else "beyond the margin"
        return f"The interval lies {where}, but not after Holm's correction over {parts} parts."
    if part.margin and not part.low <= 0 <= part.high:
        return f"The interval lies {side} 0, but it reaches the margin of {100 * part.margin:+g} points."
    return ""


def _deciding(verdict: Verdict) -> list[Part]:
    return [part for part in verdict.parts if part.deciding]
