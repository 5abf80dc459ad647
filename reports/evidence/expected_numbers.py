"""Numbers that a run of a recipe is expected to reach, since others measured them with its settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd

from carft.config.cell import Cell
from carft.store.record_files import Record
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

    def is_of(self, cell: Cell, parent: Cell) -> bool:
        """Whether a cell has these settings. parent: the fine-tuned cell that it interpolates."""
        training = parent.training
        mine = (cell.task, cell.model, cell.pretrained, cell.method, cell.hyperparameters.get("alpha"))
        trained = (parent.method, parent.hyperparameters.get("lr"), training.batch_size, training.epochs)
        return mine == (self.task, self.model, self.pretrained, self.method, self.alpha) and trained == (
            "ft",
            self.lr,
            self.batch_size,
            self.epochs,
        )

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
    records: Mapping[str, Record] = evidence.archive.records
    for expected in expected_numbers():
        cells = []
        for record in records.values():
            parents = [records[parent].cell for parent in record.cell.parents if parent in records]
            is_measured = f"{expected.set}/top1" in evidence.metrics(record.id)
            if len(parents) == 1 and is_measured and expected.is_of(record.cell, parents[0]):
                cells.append(record.id)
        if cells:
            yield expected, cells
