"""What changed after first results were seen, and how many verdicts chance alone would bring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from reports.claims.rules import Verdict
from reports.evidence.evidence import Evidence
from reports.stats.ranks import ONE_SIDED


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


def judged_later(verdict: Verdict, evidence: Evidence) -> str:
    """The mark of a verdict by rules that were set after some cell that it rests on had finished; mostly empty."""
    newest = max(amendment.date for amendment in amendments())
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
