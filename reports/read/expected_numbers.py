"""Numbers that a run of a recipe is expected to reach, since others measured them with its settings.

``expected_numbers.csv`` has a row for each: the recipe; the settings of the fine-tuned cells and the method that is
made of them, with its alpha; the set, the value in %, the points by which a run may differ and is still inside (this
project's choice), and the source.
"""

from importlib.resources import files
from typing import Any

import pandas as pd


def expected_numbers() -> list[Any]:
    """All expected numbers; the columns of the file are attributes."""
    with files("reports.read").joinpath("expected_numbers.csv").open(encoding="utf-8") as stream:
        return list(pd.read_csv(stream).itertuples(index=False))


def matching_cells(expected: Any, cells: pd.DataFrame) -> list[str]:
    """The cells with these settings that were evaluated on the set. cells: as of :func:`reports.read_cells`."""
    name = f"{expected.set}/top1"
    if name not in cells or "hp/lr" not in cells:
        return []
    mine = cells[cells[name].notna()]
    for column in ("task", "model", "pretrained", "method", "alpha", "batch_size", "epochs"):
        mine = mine[mine[column] == getattr(expected, column)]
    trained = cells.reindex(mine["parents"])
    return list(mine.index[(trained["hp/lr"] == expected.lr) & (trained["method"] == "ft")])
