"""ImageNet's forgetting and its remedies in the reference numbers, each within one pipeline of training and evaluation.

Rows of two pipelines differ by points that no method has earned, so a difference is taken within one alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from reports.evidence.references import SHOWN_BACKBONE, SHOWN_SETS, reference_numbers

#: method of this project -> its name in the reference numbers
NAMES: Mapping[str, str] = {
    "ft": "FT",
    "lp_ft": "LP-FT",
    "l2_sp": "L2-SP",
    "kd": "Static SD (KD)",
    "flyp": "FLYP",
    "lipsum_ft": "Lipsum-FT",
    "car_ft": "CAR-FT",
    "wise_ft(ft) alpha 0.5": "WiSE-FT",
}
TEST, SHIFTS = SHOWN_SETS[:1], SHOWN_SETS[1:]


@dataclass(frozen=True)
class Pipeline:
    """Rows of the reference numbers that can be compared with each other."""

    name: str
    source: str
    """How the source of its rows begins."""
    methods: tuple[str, ...]
    """The methods, as the reference numbers name them, whose rows are of this pipeline."""
    zero_shot: str = ""
    """How the source of its zero-shot rows begins; empty where it has none."""

    def mean(self, method: str, sets: tuple[str, ...]) -> float:
        """Mean top-1 of a method over sets, a share of 1; NaN where a number is not on record."""
        sources = {"Zero-shot": self.zero_shot, **dict.fromkeys(self.methods, self.source)}
        values = [_values().get((sources.get(method, ""), method, name), math.nan) for name in sets]
        return sum(values) / len(values) / 100

    def gain(self, method: str, sets: tuple[str, ...] = SHIFTS) -> float:
        """Method minus plain fine-tuning, mean over sets, a share of 1."""
        return self.mean(method, sets) - self.mean("FT", sets)

    def share(self, method: str) -> float:
        """The share of the forgetting on the four shifts that a method gives back; NaN without a zero-shot row."""
        return self.gain(method) / self.gain("Zero-shot")


#: in the order in which they are preferred. Of TRACER's table the values that end in 3 or 7 are means of three runs,
#: probably those of Lipsum-FT's paper, and stand beside the zero-shot of its code. Other rows have no FT of their own.
PIPELINES = (
    Pipeline(
        "Lipsum-FT's code, as in TRACER's Table 2",
        "Asadollahzadeh et al., TRACER: ",
        ("FT", "L2-SP", "Static SD (KD)", "CAR-FT", "Lipsum-FT"),
        "cs-giung/lipsum-ft",
    ),
    Pipeline("ReCalCon's README", "Oh, Kang and Ryu", ("FT", "LP-FT", "WiSE-FT", "FLYP")),
)


def reported_gain(method: str, sets: tuple[str, ...] = SHIFTS) -> tuple[float, str]:
    """A method, or ``Zero-shot``, minus plain fine-tuning on ImageNet's sets, a share of 1, and its pipeline.

    method: as the reference numbers name it. (NaN, "") where no pipeline has both.
    """
    return next(((g, p.name) for p in PIPELINES if not math.isnan(g := p.gain(method, sets))), (math.nan, ""))


def reported_share(method: str) -> float:
    """The share of ImageNet's forgetting that a method gives back; NaN where no pipeline has all three numbers."""
    return next((share for p in PIPELINES if not math.isnan(share := p.share(method))), math.nan)


@cache
def _values() -> Mapping[tuple[str, str, str], float]:
    """(how a source of a pipeline begins, method, set) -> the first value on record, in %."""
    rows = reference_numbers()
    rows = rows[rows["backbone"].str.startswith(SHOWN_BACKBONE)]
    values: dict[tuple[str, str, str], float] = {}
    for start in {start for p in PIPELINES for start in (p.source, p.zero_shot) if start}:
        for row in rows[rows["source"].str.startswith(start)].to_dict("records"):
            method = "Zero-shot" if row["method"].startswith("Zero-shot") else row["method"]
            values.setdefault((start, method, row["dataset"]), row["value"])
    return values
