"""A run against the numbers that its recipe is expected to reach."""

import pandas as pd

from reports.evidence.expected_numbers import cells_of, expected_numbers
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
    for number in expected_numbers():
        cells = cells_of(number, sources.evidence.archive.cells)
        if not cells:
            continue
        value = means_of(sources.evidence, cells, {"value": f"{number.set}/top1"})["value"]
        is_inside = abs(100 * value - number.value) <= number.within
        rows.append(
            {
                "recipe": number.recipe,
                "set": number.set,
                "value": value,
                "expected": number.value,
                "within": number.within,
                "answer": "inside" if is_inside else "outside",
                "source": number.source,
                "cells": " ".join(sorted(cells)),
            }
        )
    return pd.DataFrame(rows)
