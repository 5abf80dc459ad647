"""Jobs: the units of work of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from carft.catalog.resolve import interpolation
from carft.config.cell import Cell
from carft.config.registry import WISE_ALPHAS, SoupRule

#: kinds of jobs, in the order in which they run: those of all studies before the next kind
JobKind = Literal["search", "grid", "confirm", "curve", "soup", "oracle"]
KINDS: tuple[JobKind, ...] = ("search", "grid", "confirm", "curve", "soup", "oracle")


@dataclass(frozen=True)
class Job:
    """A unit of work for one actor: a cell, the WiSE-FT curve of a finished confirm cell, or the soups of a study.

    A ``grid`` cell has a fixed setting and belongs to no search.
    All but search cells are unsealed; ``oracle`` unseals a search cell, after its study has a winner. What is
    unsealed keeps its weights.
    """

    kind: JobKind
    cell: Cell  # of a curve the parent, of soups the uniform one
    keep_weights: bool = field(default=False, compare=False)  # of a search cell that is needed again: soups, oracle
    alphas: Sequence[float] = field(default=WISE_ALPHAS, compare=False)  # of a curve

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.cell.id}"

    @property
    def trains(self) -> bool:
        """Whether a training is part of the job."""
        return self.kind in ("search", "grid", "confirm") and bool(self.cell.hyperparameters)

    def cells(self) -> list[Cell]:
        """The cells this job finishes."""
        return self._cells

    @cached_property
    def _cells(self) -> list[Cell]:
        if self.kind == "curve":
            return [interpolation(self.cell, alpha) for alpha in self.alphas]
        if self.kind == "soup":
            return [replace(self.cell, hyperparameters={"greedy": rule.value}) for rule in SoupRule]
        return [self.cell]
