"""A part of a verdict: one contrast with its estimate, and what is missing from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from reports.judge.estimate import Estimate
from reports.judge.evidence import VALIDATION
from reports.note import Note

#: metric -> what a name adds
METRIC_WORDS = {"top1": "", "mean_per_class": ", mean per class", "context": ", contexts"}
#: places of means over sets or tasks
MEAN_OF_SUITES, MEAN_OF_TASKS = "mean of suites", "mean of tasks"


#: what the name of a mean says that takes tasks for a random sample
SAMPLE = "tasks as a sample"


@dataclass(frozen=True)
class Part:
    """One contrast with its estimate."""

    sides: str
    """What is compared: ``CAR-FT - FT``."""
    estimate: Estimate
    cells: tuple[str, ...]
    tasks: tuple[str, ...]
    flaws: tuple[Note, ...] = ()
    """Evidence that is missing or unsound."""
    unequal: tuple[Note, ...] = ()
    """Why the two sides cannot be compared: other searches, other images."""
    place: str = ""
    """Name of the sets, the mean or the task; empty where the sides say all."""
    pooling: str = ""
    """``SAMPLE`` of a mean that takes tasks for a random sample; else empty, and they are fixed."""
    deciding: bool = True
    """Whether the part decides its claim; otherwise it is a supporting part."""
    margin: float = 0.0
    """A share of 1."""
    side: Literal["above", "below", "around"] = "above"
    """The claim requires the whole interval above the margin, or below it, or the margin inside the interval."""
    selected_on: str = VALIDATION
    metric: str = "top1"
    """``top1``, ``mean_per_class`` or ``context``; several are joined by a comma, in the order of the tasks."""
    by_task: tuple[tuple[str, Estimate], ...] = ()
    """What people are shown of each task, and its own estimate."""

    @property
    def name(self) -> str:
        """What names it among the parts of a verdict."""
        return ", ".join(filter(None, (self.sides, self.place, self.pooling)))

    @property
    def doubts(self) -> str:
        """All that is missing of it, and what its sides differ in, as half a sentence; mostly empty."""
        return "; ".join(note.words for note in (*self.flaws, *self.unequal))

    @property
    def low(self) -> float:
        return self.estimate.interval()[0]

    @property
    def high(self) -> float:
        return self.estimate.interval()[1]

    @property
    def slack(self) -> float:
        """Distance of the nearer bound from the margin; negative on the other side."""
        above, below = self.low - self.margin, self.margin - self.high
        return {"above": above, "below": below, "around": min(-above, -below)}[self.side]

    @property
    def is_beyond(self) -> bool:
        """Whether the whole interval lies on the other side of the margin."""
        above, below = self.low > self.margin, self.high < self.margin
        return {"above": below, "below": above, "around": above or below}[self.side]

    def is_within(self, margin: float) -> bool:
        """Whether the whole interval lies nearer to 0 than the margin, a share of 1."""
        return -margin < self.low and self.high < margin

    @property
    def p_for(self) -> float:
        """One-sided p value for what the claim wants; NaN for side ``around``, where no test shows it."""
        above, below = self.estimate.p_above(self.margin), self.estimate.p_below(self.margin)
        return {"above": above, "below": below, "around": math.nan}[self.side]

    @property
    def p_against(self) -> float:
        """One-sided p value for the opposite of what the claim wants; for side ``around`` the smaller p value."""
        above, below = self.estimate.p_above(self.margin), self.estimate.p_below(self.margin)
        return {"above": below, "below": above, "around": min(above, below)}[self.side]
