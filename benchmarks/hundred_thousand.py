"""What commands cost on a folder of 100,000 cells: half an hour, most of it for planting them."""

from __future__ import annotations

from benchmarks import folders
from benchmarks.measuring import Figure

CELLS = 100_000


def measure() -> list[Figure]:
    """As benchmarks/folders.py."""
    return folders.measure(CELLS)
