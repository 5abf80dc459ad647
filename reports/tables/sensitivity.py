"""Whether the experiment could have shown what is claimed: controls, and the share of forgetting given back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from reports.analysis.contrasts import Part
from reports.analysis.established import Asked, remedies
from reports.analysis.forgetting import GivenBack
from reports.evidence.evidence import Entry, Evidence
from reports.evidence.pipelines import NAMES, reported_gain, reported_share
from reports.tables.table import INTERVAL_FORMULAS, PAIRED, Formula, TableCard


def _numbers(part: Part | None, name: str = "effect", bounds: str = "") -> dict[str, float]:
    """The effect of a part and its bounds, shares of 1; NaN without a part."""
    values = (math.nan, math.nan, math.nan) if part is None else (part.estimate.effect, part.low, part.high)
    return dict(zip((name, f"{bounds}low", f"{bounds}high"), values, strict=True))


def _counts(part: Part | None) -> dict[str, int]:
    if part is None:
        return {"n_tasks": 0, "n_searches": 0, "n_seeds": 0}
    return {
        "n_tasks": len(part.tasks),
        "n_searches": part.estimate.n_searches,
        "n_seeds": part.estimate.n_seeds,
    }


def control_table(asked: Sequence[Asked]) -> pd.DataFrame:
    """One row per control and scope; effect, low, high and reported are shares of 1."""
    return pd.DataFrame(
        {
            "control": found.control.name,
            "scope": found.scope,
            "scale": found.scale,
            "answer": found.answer,
            "expected": found.control.expected,
            "reported": found.control.reported,
            **_numbers(found.part),
            "p_adjusted": found.p_adjusted,
            **_counts(found.part),
            "words": found.words,
            "statement": found.control.statement,
            "source": found.control.source,
            "cells": " ".join(found.part.cells) if found.part else "",
        }
        for found in asked
    )


CONTROLS_CARD = TableCard(
    "controls",
    "Could this experiment have shown it?",
    "What independent work has established, in points. An experiment that does not show it cannot show a claim. "
    "WiSE-FT at alpha 0.5 is the positive control, named in advance; p is one-sided, after Holm over other remedies.",
    lambda sources: control_table(sources.controls),
    ("control",),
    points=("reported", "effect", "low", "high"),
    headings={"reported": "ImageNet", "p_adjusted": "p"},
    formulas={
        "reported": Formula(
            "From ImageNet and its four shifts with CLIP ViT-B/16, within one pipeline of others "
            "(reports/evidence/reference_numbers.csv)."
        ),
        "p_adjusted": Formula("The inverse of the interval, calibrated in the far tail, after Holm."),
        "effect": PAIRED,
        **INTERVAL_FORMULAS,
    },
)


def given_back_table(evidence: Evidence) -> pd.DataFrame:
    """One row per scope and method: what it gains over FT out of distribution as a share of what FT lost to zero-shot.

    Shares of 1. share_low and share_high are NaN where the interval has no two bounds; given_back tells it in words.
    """
    asked = ((view, entry, GivenBack.of(view, entry)) for view in evidence.views() for entry in remedies(view))
    return pd.DataFrame(_share_row(view, entry, found) for view, entry, found in asked if found is not None)


def _share_row(view: Evidence, entry: Entry, found: GivenBack) -> dict[str, Any]:
    share, name = found.share, NAMES.get(entry.label, "")
    has_bounds = found.is_defined and share.kind == "between"
    return {
        "method": entry.label,
        "scope": view.name,
        "scale": view.scale,
        "given_back": found.words,
        "share": share.value if found.is_defined else math.nan,
        "share_low": share.low if has_bounds else math.nan,
        "share_high": share.high if has_bounds else math.nan,
        "imagenet_share": reported_share(name),
        **_numbers(found.gained, "gained"),
        "imagenet_gained": reported_gain(name)[0],
        **_numbers(found.forgotten, "forgotten", "forgotten_"),
        **_counts(found.gained),
        "flaws": "; ".join((*found.gained.flaws, *found.gained.unequal)),
        "cells": " ".join(found.gained.cells),
    }


GIVEN_BACK_CARD = TableCard(
    "given_back",
    "Share of forgetting given back",
    "Out of distribution, mean of suites and tasks: what a method gains over FT, and its share of what FT lost to "
    "zero-shot, over the searches that both have. ImageNet: the same from numbers of others, where one pipeline has "
    "all three.",
    lambda sources: given_back_table(sources.evidence),
    ("method",),
    shares=("share", "share_low", "share_high", "imagenet_share"),
    points=("gained", "low", "high", "imagenet_gained", "forgotten", "forgotten_low", "forgotten_high"),
    hidden=("cells", "share", "share_low", "share_high"),
    headings={"given_back": "given back", "imagenet_share": "ImageNet, %", "imagenet_gained": "ImageNet, gained"},
    formulas={
        "share*": Formula(
            "(method - FT) / (zero-shot - FT) with Fieller's interval: the shares v for which "
            "(method - FT) - v (zero-shot - FT) may be 0."
        ),
        "imagenet*": Formula(
            "From ImageNet's four shifts with CLIP ViT-B/16, within one pipeline of others "
            "(reports/evidence/reference_numbers.csv)."
        ),
        "gained": PAIRED,
        "forgotten": PAIRED,
        "forgotten_*": INTERVAL_FORMULAS["low"],
        **INTERVAL_FORMULAS,
    },
)
