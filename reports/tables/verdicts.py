"""The verdicts and their parts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.tables.table import INTERVAL_FORMULAS, PAIRED, Row, Sources, table


@table(
    "Claims",
    "One row per claim. Numbers are those of the part that decides it, in points.",
    ["claim"],
    points=("effect", "low", "high", "smallest_visible"),
    formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
    on_page=False,
)
def claims(sources: Sources) -> pd.DataFrame:
    """One row per verdict."""
    # scripts get null for what does not exist, tables an empty cell
    return pd.DataFrame([{**v.as_dict(), "floor": v.floor, "cells": " ".join(v.cells)} for v in sources.verdicts])


def _part_cells(sources: Sources, row: Row) -> Sequence[str]:
    """The cells of the part of a verdict."""
    asked = [v for v in sources.verdicts if (v.claim, v.scope) == (row["claim"], row["scope"])]
    return next((part.cells for v in asked for part in v.parts if part.name == row["part"]), ())


@table(
    "Verdicts",
    "One row per part of a claim, deciding or beside it, in points.",
    ["claim", "part"],
    points=("effect", "low*", "high*", "margin", "smallest_visible"),
    formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
    cells=_part_cells,
    on_page=False,
)
def verdicts(sources: Sources) -> pd.DataFrame:
    """One row per part of a verdict. low_plain and high_plain use the raw variance sum with Satterthwaite's t."""
    return pd.DataFrame(
        {
            "claim": verdict.claim,
            "verdict": verdict.verdict,
            "scope": verdict.scope,
            "scale": verdict.scale,
            "selected_on": part.selected_on,
            "part": part.name,
            "deciding": part.deciding,
            "margin": part.margin,
            "effect": part.estimate.effect,
            "low": part.low,
            "high": part.high,
            "low_plain": part.plain().low,
            "high_plain": part.plain().high,
            "df": part.estimate.df,
            "smallest_visible": part.estimate.smallest_visible(),
            "floor": part.estimate.floor(),
            "n_tasks": len(part.tasks),
            "n_seeds": part.estimate.n_seeds,
            "n_groups": part.estimate.n_groups,
            "metric": part.metric,
        }
        for verdict in sources.verdicts
        for part in verdict.parts
    )
