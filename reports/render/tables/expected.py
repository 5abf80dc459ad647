"""A run against the numbers that its recipe is expected to reach."""

from collections.abc import Iterator

from reports.judge.findings import Findings
from reports.render.tables.table import TableRow, share, table


@table(
    "Expected numbers",
    "A run against what others measured with its settings, in %. It is inside where value and expected differ by at "
    "most so many points as within says.",
    ["recipe", "set"],
    columns={"value": share()},
)
def expected(findings: Findings) -> Iterator[TableRow]:
    """One row per expected number of which the folder has cells. answer: inside or outside."""
    for one in findings.expected:
        number = one.number
        yield {
            "recipe": number.recipe,
            "set": number.set,
            "value": one.value,
            "expected": number.value,
            "within": number.within,
            "answer": "inside" if one.is_inside else "outside",
            "source": number.source,
            "cells": " ".join(one.cells),
        }
