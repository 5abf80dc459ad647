"""Notes to verdicts: what keeps one undecided, and why one that looks wrong at first sight is right."""

from __future__ import annotations

import math
import re

from reports.analysis.contrasts import Part
from reports.claims.rules import CANNOT_BE_ASKED, UNDECIDABLE, Verdict, ledger

#: stands in the reason of a verdict that a null check or a narrow search range keeps open
WITHOUT = " Without it: "
#: what the reason of the claim on readings says of all of them, beside the weakest
READINGS = re.compile(r"Holds in: .* readings\.")


def doubt_of(verdict: Verdict) -> str:
    """Why nothing is decided although there are numbers, as half a sentence; empty where the numbers decide."""
    deciding = _deciding(verdict)
    if not deciding or verdict.verdict not in ("inconclusive", "not comparable"):
        return ""
    if verdict.verdict == "not comparable":
        return "the two sides differ in more than the method"
    flaws = list(dict.fromkeys(text for part in deciding for text in part.flaws))
    if flaws:
        first = re.sub(r" \([^)]*\)", "", flaws[0])
        return first + (f", and {len(flaws) - 1} more" if len(flaws) > 1 else "")
    if WITHOUT in verdict.reason:
        first = re.split(r"[:(]", verdict.reason)[0].strip()
        return first[:1].lower() + first[1:]
    return ""


def first_sight(verdict: Verdict) -> str:
    """Why the verdict is not what its effect and interval seem to say, in a sentence; mostly empty."""
    deciding = _deciding(verdict)
    if verdict.verdict == CANNOT_BE_ASKED:
        return "Zero-shot recognises contexts no better than chance."
    if not deciding and (counted := READINGS.search(verdict.reason)):
        return f"The interval is that of one reading, the verdict that of all. {counted[0]}"
    shown = next((part for part in deciding if part.name == verdict.headline), None)
    if shown is None or verdict.unit != "points" or math.isnan(shown.low):
        return ""
    if doubt := doubt_of(verdict):
        return f"Not decided: {doubt}."
    if verdict.verdict in ("inconclusive", UNDECIDABLE):
        return _open(shown, len(deciding))
    if not shown.margin:
        return ""
    margin = f"{100 * abs(shown.margin):g} points"
    if verdict.verdict == "contradicted" and "audit's" in ledger()[verdict.claim].source:
        return f"The margin of {margin} is this audit's own."
    if verdict.verdict == "reproduced" and shown.low <= 0 <= shown.high:
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
