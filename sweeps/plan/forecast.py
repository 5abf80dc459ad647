"""Forecast of a sweep: the work that is left, in the order in which jobs wait for each other, times a rate. No Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carft.models.availability import ModelSize
from sweeps.plan.concurrency import Concurrency, concurrency_of
from sweeps.plan.rates import Rate, Rates
from sweeps.plan.work import Costs, PendingWork, pending_work
from sweeps.search.protocol import Protocol

#: seconds until the first cell runs: start of Ray, imports, the model
START_S = 15.0
#: factor of the upper end of the range for what no record holds: opening data, writing records, handing out jobs
OVERHEAD = 1.5
#: the rates of a model whose size is not known
UNKNOWN = Rates.alike(Rate(0.0, 0.0, 0.0), "nothing: the model's size is not known, and nothing was measured", True)


@dataclass(frozen=True)
class Forecast:
    """Cells, time and disk of what is left of a sweep. All times are 0 when no rate is known."""

    total: int
    """Cells of the sweep."""
    done: int
    """Cells with a record."""
    failed: int
    """Cells that failed before and do not run again, and cells that wait for those."""
    left: tuple[PendingWork, ...]
    """What still has to run."""
    busy_s: float
    """Seconds of all cells, one after another."""
    wall_s: float
    """Seconds of the sweep, from ``low_s`` to ``high_s``."""
    low_s: float
    high_s: float
    slots: int
    """Cells at a time at most."""
    at_a_time: tuple[tuple[int, float], ...]
    """(jobs at a time, for how many seconds in all), the largest number first; short times are left out."""
    basis: str
    """What the times come from, as text."""
    estimate: bool
    """Whether nothing was measured."""

    @staticmethod
    def of(content: Mapping[str, Any]) -> Forecast:
        """A forecast from its fields as plain values."""
        left = tuple(PendingWork(**one) for one in content["left"])
        return Forecast(**{**content, "left": left, "at_a_time": tuple(map(tuple, content["at_a_time"]))})

    @property
    def cells(self) -> int:
        """Cells to run."""
        return sum(left.cells for left in self.left)

    @property
    def steps(self) -> int:
        """Optimisation steps to run."""
        return sum(left.jobs * left.steps for left in self.left)

    @property
    def bytes(self) -> int:
        """Bytes that the sweep will write."""
        return round(sum(left.jobs * left.bytes for left in self.left))


def forecast(
    protocol: Protocol,
    slots: int,
    rates: Rates | None,
    size: ModelSize | None,
    widens: bool = False,
    misses: tuple[float, float] = (1.0, 1.0),
    costs: Costs | None = None,
) -> Forecast:
    """The forecast of what ``protocol`` has left.

    Args:
        protocol: Of the sweep.
        slots: Cells at a time.
        rates: Of this model on this hardware; None where nothing is known.
        size: Of the model; None where it is not known.
        widens: As of the request.
        misses: Smallest and largest ratio of the time that a sweep took to its forecast, of earlier sweeps. The range
            holds them.
        costs: What cells take; None: as far as it is known without a data folder.
    """
    rates = rates or UNKNOWN
    left = tuple(pending_work(protocol, size, costs or Costs(protocol.store.catalog)))

    def timed(end: str) -> Concurrency:
        """The sweep with the median, low or high end of the rates."""
        return concurrency_of(
            left,
            slots,
            lambda work: work.passes * getattr(rates.of(work.trains), end),
            widens,
        )

    def wall(length: float) -> float:
        return START_S + length if length else 0.0

    median = timed("seconds")
    wall_s = wall(median.length)
    return Forecast(
        total=protocol.total(),
        done=len(protocol.done),
        failed=max(0, protocol.total() - len(protocol.done) - sum(one.cells for one in left)),
        left=left,
        busy_s=sum(work.jobs * work.passes * rates.of(work.trains).seconds for work in left),
        wall_s=wall_s,
        low_s=min(wall(timed("low").length), misses[0] * wall_s),
        high_s=max(wall(timed("high").length) * OVERHEAD, misses[1] * wall_s),
        slots=slots,
        at_a_time=median.at_a_time,
        basis=rates.basis,
        estimate=rates.estimate,
    )
