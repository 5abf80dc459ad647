"""A run against the numbers that its recipe is expected to reach."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.read.expected_numbers import expected_numbers, matching_cells
from reports.read.folder import Folder


@dataclass(frozen=True)
class Expected:
    """An expected number of which the folder has cells."""

    number: Any
    """A row of ``expected_numbers.csv``, in %."""
    value: float
    """Share of 1, the mean over the cells; NaN where one of them has none."""
    cells: Sequence[str]

    @property
    def is_inside(self) -> bool:
        """Whether value and expected number differ by at most so many points as the row allows."""
        return abs(100 * self.value - self.number.value) <= self.number.within


def compared_with_expected(folder: Folder) -> Iterator[Expected]:
    """Every expected number of which the folder has cells."""
    for number in expected_numbers():
        cells = matching_cells(number, folder.cells)
        if cells:
            reached = [folder.metrics(cell).get(f"{number.set}/top1", np.nan) for cell in cells]
            yield Expected(number, float(np.mean(reached)), sorted(cells))
