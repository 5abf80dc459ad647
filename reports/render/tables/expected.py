"""A run against the numbers that its recipe is expected to reach."""

from collections.abc import Iterator

from reports.judge.findings import Findings
from reports.read.expected_numbers import expected_numbers, matching_cells
from reports.render.tables.table import TableRow, means_of, share, table


@table(
    "Expected numbers",
    "A run against what others measured with its settings, in %. It is inside where value and expected differ by at "
    "most so many points as within says.",
    ["recipe", "set"],
    columns={"value": share()},
)
def expected(findings: Findings) -> Iterator[TableRow]:
    """One row per expected number of which the folder has cells. answer: inside or outside."""
    for number in expected_numbers():
        cells = matching_cells(number, findings.evidence.folder.cells)
        if not cells:
            continue
        value = means_of(findings.evidence, cells, {"value": share(metric=f"{number.set}/top1")})["value"]
        yield {
            "recipe": number.recipe,
            "set": number.set,
            "value": value,
            "expected": number.value,
            "within": number.within,
            "answer": "inside" if abs(100 * value - number.value) <= number.within else "outside",
            "source": number.source,
            "cells": " ".join(sorted(cells)),
        }
