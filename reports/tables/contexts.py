"""Context recognition before and after fine-tuning, and which contexts are taken for which."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from reports.analysis.levels import chance_by_scope
from reports.evidence.evidence import Evidence
from reports.tables.table import Formula, Sources, method_cells, table


@table(
    "Context recognition",
    "Images whose context is recognised, per known context and set, over tasks and seeds.",
    ["method", "context", "set"],
    shares=("share", "chance"),
    formulas={
        "share": Formula("hits / images, summed over tasks and confirm seeds."),
        "chance": Formula("Mean over tasks of 1 over the number of known contexts."),
    },
    cells=method_cells,
)
def contexts(sources: Sources) -> pd.DataFrame:
    """Context recognition per entry, known context and set: hits and images, summed over tasks and seeds."""
    counts = _named_contexts(sources.evidence)
    counts["hits"] = counts["images"].where(counts["known"] == counts["named"], 0)
    keys = ["scope", "scale", "method", "context", "set"]
    summed = counts.rename(columns={"known": "context"}).groupby(keys, as_index=False, sort=False)
    shown = summed.agg({"hits": "sum", "images": "sum", "n_seeds": "first"})
    return _beside_chance(shown.assign(share=shown["hits"] / shown["images"]), sources.evidence)


@table(
    "Context confusion",
    "Known against named contexts, summed over tasks and seeds.",
    ["scope", "method", "where", "known", "named"],
    shares=("share", "chance"),
    cells=method_cells,
)
def confusion(sources: Sources) -> pd.DataFrame:
    """Known against named context per entry, ID and OOD apart: images, and their share of the known context.

    Summed over tasks and seeds; a row of the confusion matrix sums to 1 over ``named``.
    """
    counts = _named_contexts(sources.evidence)
    counts["where"] = np.where(counts["set"] == "test", "ID", "OOD")
    keys = ["scope", "scale", "method", "where", "known"]
    shown = counts.groupby([*keys, "named"], as_index=False, sort=False)["images"].sum()
    whole = shown.groupby(keys)["images"].transform("sum")
    return _beside_chance(shown.assign(share=shown["images"] / whole), sources.evidence)


def _named_contexts(evidence: Evidence) -> pd.DataFrame:
    """Images of each scope, method, set, known and named context, over all tasks and seeds; n_seeds of the method."""
    images: Counter[tuple[str, ...]] = Counter()
    seeds: dict[tuple[str, str], set[int]] = {}
    for view in evidence.views():
        for entry in (entry for entry in view.entries() if entry.parent is None):
            for task in view.tasks:
                templates = view.card(task).contexts
                for cell in view.cells(task, entry):
                    for name in view.set_names(task):
                        outcome = view.outcome(cell, name)
                        known = outcome.frame.contexts >= 0
                        codes = outcome.frame.contexts[known].astype(int) * len(templates)
                        for code, count in zip(
                            *np.unique(codes + outcome.predicted_contexts[known], return_counts=True), strict=True
                        ):
                            pair = (templates[i] for i in divmod(int(code), len(templates)))
                            images[view.name, view.scale, entry.label, name, *pair] += int(count)
                            seeds.setdefault((view.name, entry.label), set()).add(view.seed(cell))
    columns = ["scope", "scale", "method", "set", "known", "named", "images"]
    table = pd.DataFrame([(*key, count) for key, count in images.items()], columns=columns)
    return table.assign(n_seeds=[len(seeds[key[0], key[2]]) for key in images])


def _beside_chance(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The table with what guessing would recognise of the contexts of each row's scope, a share of 1."""
    return table.assign(chance=table["scope"].map(chance_by_scope(evidence)).astype(float))
