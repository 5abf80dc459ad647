"""Numbers that a run of a recipe is expected to reach, since others measured them with its settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd

from reports.evidence.evidence import Evidence


@dataclass(frozen=True)
class Expected:
    """What interpolations of fine-tuned cells with these settings are expected to reach on a set."""

    recipe: str
    task: str
    model: str
    pretrained: str
    method: str
    alpha: float
    lr: float
    batch_size: int
    epochs: int
    set: str
    value: float
    """In %."""
    within: float
    """Points by which a run may differ and is still inside: this project's choice."""
    source: str

    def among(self, cells: pd.DataFrame) -> list[str]:
        """The cells with these settings that were evaluated on the set. cells: as of :func:`reports.read_cells`."""
        name = f"{self.set}/top1"
        if name not in cells or "hp/lr" not in cells:
            return []
        mine = cells[cells[name].notna() & (cells["alpha"] == self.alpha)]
        for column in ("task", "model", "pretrained", "method", "batch_size", "epochs"):
            mine = mine[mine[column] == getattr(self, column)]
        trained = cells.reindex(mine["parents"])
        return list(mine.index[(trained["hp/lr"] == self.lr) & (trained["method"] == "ft")])

    def is_inside(self, value: float) -> bool:
        """Whether a share of 1 is as expected."""
        return abs(100 * value - self.value) <= self.within


def expected_numbers() -> list[Expected]:
    """All expected numbers."""
    with files("reports.evidence").joinpath("expected_numbers.csv").open(encoding="utf-8") as stream:
        table = pd.read_csv(stream)
    return [Expected(*row) for row in table.itertuples(index=False)]  # the columns are the fields, in their order


def reached(evidence: Evidence) -> Iterator[tuple[Expected, list[str]]]:
    """Every expected number with the cells that have its settings and were evaluated on its set, if there are some."""
    for expected in expected_numbers():
        cells = expected.among(evidence.archive.cells)
        if cells:
            yield expected, cells
