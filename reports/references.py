"""Numbers that others report at paper scale, with their sources. They are shown, never mixed with measured ones."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

SHOWN_METHODS = ("Zero-shot", "FT", "CAR-FT")
SHOWN_SETS = ("ImageNet", "ImageNet-V2", "ImageNet-R", "ImageNet-A", "ImageNet-Sketch")
SHOWN_BACKBONE = "CLIP ViT-B/16"


def reference_numbers() -> pd.DataFrame:
    """All rows: table, dataset, method, backbone, metric, value (in %), source, confidence."""
    with files("reports").joinpath("reference_numbers.csv").open(encoding="utf-8") as stream:
        return pd.read_csv(stream)


def imagenet_references() -> pd.DataFrame:
    """ImageNet and its shifts for the three methods of the claims: one row per method and source."""
    rows = reference_numbers()
    wanted = (
        rows["method"].isin(SHOWN_METHODS) & rows["dataset"].isin(SHOWN_SETS) & (rows["backbone"] == SHOWN_BACKBONE)
    )
    table = rows[wanted].pivot_table(
        index=["method", "source", "confidence"], columns="dataset", values="value", aggfunc="first"
    )
    ordered = table.reindex(columns=list(SHOWN_SETS)).reset_index()
    rank = {method: k for k, method in enumerate(SHOWN_METHODS)}
    return ordered.sort_values("method", key=lambda column: column.map(rank), kind="stable", ignore_index=True)
