"""What changed after first results were seen, and how many verdicts chance alone would bring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from reports.claims.rules import UNDECIDABLE, Verdict
from reports.stats.ranks import ONE_SIDED

#: answers that an interval decided, or left open
ASKED = ("reproduced", "contradicted", "inconclusive", UNDECIDABLE)


@dataclass(frozen=True)
class Amendment:
    """A rule that was changed once results were known. date: of the change. before: what was done until then."""

    date: str
    rule: str
    change: str
    before: str


@cache
def amendments() -> tuple[Amendment, ...]:
    """All of them, oldest first."""
    entries = yaml.safe_load(files("reports.claims").joinpath("amendments.yaml").read_text(encoding="utf-8"))
    return tuple(Amendment(**{**entry, "date": str(entry["date"])}) for entry in entries)


def chance_words(verdicts: Sequence[Verdict]) -> str:
    """That claims are not corrected jointly, with the number of verdicts that chance alone would bring."""
    count = sum(v.verdict in ASKED and v.low is not None and math.isfinite(v.low) for v in verdicts)
    if not count:
        return ""
    each = 100 * ONE_SIDED
    return (
        f"Claims are not corrected jointly. {count} verdicts here rest on an interval. If every true effect lay "
        f"exactly on its margin, chance alone would be expected to make {2 * ONE_SIDED * count:.1f} of them "
        f"reproduced or contradicted ({each:g} % each way), and fewer where all parts of a claim must hold at once."
    )
