"""The verdicts and their parts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.claims.verdicts import Verdict
from reports.tables.table import INTERVAL_FORMULAS, PAIRED, Row, Sources, TableCard


def claim_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per verdict."""
    # scripts get null for what does not exist, tables an empty cell
    return pd.DataFrame([{**v.as_dict(), "floor": v.floor, "cells": " ".join(v.cells)} for v in verdicts])


CLAIMS_CARD = TableCard(
    "claims",
    "Claims",
    "One row per claim, as on the first screen. Numbers are those of the part that decides it, in points.",
    lambda sources: claim_table(sources.verdicts),
    ("claim",),
    points=("effect", "low", "high", "smallest_visible"),
    formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
    on_page=False,
)


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per part of a verdict. low_plain and high_plain use the raw variance sum with Satterthwaite's t."""
    rows = []
    for verdict in verdicts:
        for part in verdict.parts:
            estimate = part.estimate
            rows.append(
                {
                    "claim": verdict.claim,
                    "verdict": verdict.verdict,
                    "scope": verdict.scope,
                    "scale": verdict.scale,
                    "selected_on": part.selected_on,
                    "part": part.name,
                    "deciding": part.deciding,
                    "margin": part.margin,
                    "effect": estimate.effect,
                    "low": part.low,
                    "high": part.high,
                    "low_plain": estimate.plain().interval()[0],
                    "high_plain": estimate.plain().interval()[1],
                    "df": estimate.df,
                    "smallest_visible": estimate.smallest_visible(),
                    "floor": estimate.floor(),
                    "n_tasks": len(part.tasks),
                    "n_seeds": estimate.n_seeds,
                    "n_groups": estimate.n_groups,
                    "metric": part.metric,
                }
            )
    return pd.DataFrame(rows)


def _part_cells(sources: Sources, row: Row) -> Sequence[str]:
    """The cells of the part of a verdict."""
    asked = [v for v in sources.verdicts if (v.claim, v.scope) == (row["claim"], row["scope"])]
    return next((part.cells for v in asked for part in v.parts if part.name == row["part"]), ())


VERDICTS_CARD = TableCard(
    "verdicts",
    "Parts of the verdicts",
    "One row per part of a claim, deciding or beside it, in points.",
    lambda sources: verdict_table(sources.verdicts),
    ("claim", "part"),
    points=("effect", "low*", "high*", "margin", "smallest_visible"),
    formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
    cells=_part_cells,
    on_page=False,
)
