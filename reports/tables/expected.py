"""A run against the numbers that its recipe is expected to reach."""

import pandas as pd

from reports.evidence.expected_numbers import reached
from reports.tables.table import Sources, means_of, table


@table(
    "Expected numbers",
    "A run against what others measured with its settings, in %.",
    ["recipe", "set"],
    shares=("value",),
    formulas={
        "value": "SET/top1 of the cells, the mean.",
        "answer": "inside where value and expected differ by at most so many points as within says.",
    },
)
def expected(sources: Sources) -> pd.DataFrame:
    """One row per expected number of which the folder has cells. answer: inside or outside."""
    rows = []
    for number, cells in reached(sources.evidence):
        value = means_of(sources.evidence, cells, {"value": f"{number.set}/top1"})["value"]
        answer = "outside"
        if number.is_inside(value):
            answer = "inside"
        rows.append(
            {
                "recipe": number.recipe,
                "set": number.set,
                "value": value,
                "expected": number.value,
                "within": number.within,
                "answer": answer,
                "source": number.source,
                "cells": " ".join(sorted(cells)),
            }
        )
    return pd.DataFrame(rows)
