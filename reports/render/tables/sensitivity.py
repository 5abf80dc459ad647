"""Verdicts and what they rest on: readings of what the paper leaves open, controls, forgetting given back."""

import math
from collections.abc import Iterator

from reports.judge.claims.readings import DEFAULTS
from reports.judge.estimate import Estimate
from reports.judge.evidence import VALIDATION
from reports.judge.findings import Findings, ScopeFindings
from reports.judge.part import Part
from reports.render.tables.table import (
    DIFFERENCE,
    EFFECT,
    INTERVAL,
    PAIRED,
    Column,
    TableRow,
    numbers_of,
    points,
    scope_table,
    share,
    table,
)
from reports.render.words.verdict_words import as_dict


@table(
    "Claims",
    "One row per claim. Numbers are those of the part that decides it, in points.",
    ["claim"],
    columns=DIFFERENCE,
    on_page=False,
)
def claims(findings: Findings) -> Iterator[TableRow]:
    """One row per verdict."""
    # scripts get null for what does not exist, tables an empty cell
    for verdict in findings.verdicts:
        yield {**as_dict(verdict), "floor": verdict.number.floor, "cells": " ".join(verdict.cells)}


@table(
    "Verdicts",
    "One row per part of a claim, deciding or beside it, in points.",
    ["claim", "part"],
    columns={**DIFFERENCE, "margin": points()},
    unwritten=("cells",),
    on_page=False,
)
def verdicts(findings: Findings) -> Iterator[TableRow]:
    """One row per part of a verdict."""
    for verdict in findings.verdicts:
        for part in verdict.parts:
            yield {
                "claim": verdict.claim,
                "verdict": verdict.verdict,
                "scope": verdict.scope,
                "scale": verdict.scale,
                "selected_on": part.selected_on,
                "part": part.name,
                "deciding": part.deciding,
                "margin": part.margin,
                **numbers_of(part, "effect", "low", "high"),
                **numbers_of(part, "df", "smallest_visible", "floor", "n_tasks", "n_seeds", "n_groups"),
                "metric": part.metric,
                "cells": " ".join(part.cells),
            }


@scope_table(
    "Readings",
    "CAR-FT minus FT under every reading of what the paper leaves open that was run.",
    ["scope", "reading", "where"],
    columns=EFFECT,
)
def readings(found: ScopeFindings) -> Iterator[TableRow]:
    """One row per reading and set (ID test, mean OOD, each suite): effect, interval, the answers, every factor."""
    results = found.readings
    if len(results) == 1:
        return
    factors = set[str]()
    for result in results:
        factors.update(dict(result.choices))
    defaults = {name: DEFAULTS.get(name, "default") for name in sorted(factors)}
    for result in results:
        for where, part in result.shown.items():
            yield {
                "reading": result.label,
                "where": where,
                **numbers_of(part, "effect", "low", "high", "n_tasks", "n_seeds", "n_groups"),
                "selected_on": VALIDATION,
                **{claim: verdict.verdict for claim, verdict in result.verdicts.items()},
                **defaults,
                **dict(result.choices),
                "cells": " ".join(part.cells),
            }


@table(
    "Could this experiment have shown it?",
    "What independent work has established, in points. An experiment that does not show it cannot show a claim. "
    "WiSE-FT at alpha 0.5 is the positive control, named in advance; p is one-sided, after Holm over other remedies.",
    ["control"],
    columns={
        **DIFFERENCE,
        "reported": points(
            "ImageNet",
            "From ImageNet and its four shifts with CLIP ViT-B/16, within one pipeline of others "
            "(reports/read/reference_numbers.csv).",
        ),
        "p_adjusted": Column(heading="p", formula="The inverse of the interval, after Holm."),
    },
)
def controls(findings: Findings) -> Iterator[TableRow]:
    """One row per control and scope; effect, low, high and reported are shares of 1."""
    nothing = Part("", Estimate(math.nan, (), 0, 0, n_searches=0), (), ())
    for asked in findings.controls:
        part = asked.part or nothing
        yield {
            "control": asked.control.name,
            "scope": asked.scope,
            "scale": asked.scale,
            "answer": asked.answer,
            "expected": "above 0",
            "reported": asked.control.reported,
            **numbers_of(part, "effect", "low", "high"),
            "p_adjusted": asked.p_adjusted,
            **numbers_of(part, "n_tasks", "n_searches", "n_seeds"),
            "words": asked.words,
            "statement": asked.control.statement,
            "source": asked.control.source,
            "cells": " ".join(part.cells),
        }


IMAGENET = (
    "From ImageNet's four shifts with CLIP ViT-B/16, within one pipeline of others "
    "(reports/read/reference_numbers.csv)."
)


@scope_table(
    "Share of forgetting given back",
    "Out of distribution, mean of suites and tasks: what a method gains over FT, and its share of what FT lost to "
    "zero-shot, over the searches that both have. ImageNet: the same from numbers of others, where one pipeline has "
    "all three.",
    ["method"],
    columns={
        **DIFFERENCE,
        "share*": share(
            formula="(method - FT) / (zero-shot - FT) with Fieller's interval: the shares v for which "
            "(method - FT) - v (zero-shot - FT) may be 0.",
            on_page=False,
        ),
        "imagenet_share": share("ImageNet, %", IMAGENET),
        "imagenet_gained": points("ImageNet, gained", IMAGENET),
        "gained": points(formula=PAIRED),
        "forgotten": points(formula=PAIRED),
        "forgotten_*": points(formula=INTERVAL),
    },
)
def given_back(scope: ScopeFindings) -> Iterator[TableRow]:
    """One row per scope and method: what it gains over FT out of distribution as a share of what FT lost to zero-shot.

    Shares of 1. share_low and share_high are NaN where the interval has no two bounds; given_back tells it in words.
    """
    for found in scope.given_back:
        share, gained, forgotten = found.share, found.gained, found.forgotten
        is_bounded = found.is_defined and share.kind == "between"
        yield {
            "method": found.entry.label,
            "given_back": found.words,
            "share": share.value if found.is_defined else math.nan,
            "share_low": share.low if is_bounded else math.nan,
            "share_high": share.high if is_bounded else math.nan,
            "imagenet_share": found.reported_share,
            "gained": gained.estimate.effect,
            "low": gained.low,
            "high": gained.high,
            "imagenet_gained": found.reported_gain,
            "forgotten": forgotten.estimate.effect,
            "forgotten_low": forgotten.low,
            "forgotten_high": forgotten.high,
            **numbers_of(gained, "n_tasks", "n_searches", "n_seeds"),
            "flaws": gained.doubts,
            "cells": " ".join(gained.cells),
        }
