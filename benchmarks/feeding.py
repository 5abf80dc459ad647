"""How well one driver keeps slots busy: the queue of a sweep, whose cells compute nothing, on a clock of its own.

The driver does one thing at a time: it hands out a job, or takes one back.
"""

from __future__ import annotations

import heapq
import tempfile
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np

from benchmarks.measuring import Figure
from carft.data.icons.world import nine_tasks
from carft.store.records import Store
from sweeps.recipes.loading import load_recipe
from sweeps.search.jobs import Job
from sweeps.search.protocol import Protocol

#: slots -> trials of each of the 18 searches: about eight cells a slot, so that the start counts for little
TRIALS = {8: 8, 64: 30, 512: 240}
#: name -> mean seconds of a cell
CELLS = {"2 s": 2.0, "60 s": 60.0, "an hour": 3600.0}
#: seconds that the driver takes for a job in Ray Tune and in the queue: CPU time on a busy machine
DRIVER_S = 0.008
#: from this mean on the slots are to be busy
LONG_S = 60.0


@dataclass(frozen=True)
class Fed:
    """What a simulated sweep came to."""

    jobs: int
    while_ready: float
    """Share of the time of all slots in which they compute, until a slot is first free and no job is ready for it."""
    whole: float
    """The same until the last job has ended."""


def measure() -> list[Figure]:
    """Utilisation by slots and length of a cell."""
    figures = []
    for slots, trials in TRIALS.items():
        for name, seconds in CELLS.items():
            fed = feed(trials, slots, seconds)
            needed = seconds / DRIVER_S
            note = f"{fed.jobs} jobs, whole sweep {fed.whole:.3f}; the driver feeds at most {needed:,.0f} slots"
            target = ">= 0.9" if seconds >= LONG_S else None
            figures.append(
                Figure(f"{slots} slots, cells of {name}", fed.while_ready, target, unit="share of time", note=note)
            )
    return figures


def feed(trials: int, slots: int, mean_s: float, driver_s: float = DRIVER_S, seeds: int = 5) -> Fed:
    """Simulate a sweep of nine tasks, FT, CAR-FT and their curves.

    mean_s: mean seconds of a cell; each takes between half and one and a half of it. driver_s: seconds that the driver
    takes for a job.
    """
    methods = ["zeroshot", "ft", "car_ft", "wise_ft"]
    recipe = load_recipe("miniature").changed(list(nine_tasks()), methods, trials, seeds=seeds)
    values = {"val/top1": 0.5, "val/loss": 1.0}
    with (
        tempfile.TemporaryDirectory() as scratch,
        patch("os.fsync"),
        patch.object(Store, "metrics", lambda store, cell: values),
    ):
        return _simulated(Protocol(recipe, Store(scratch)), slots, mean_s, driver_s)


def _simulated(protocol: Protocol, slots: int, mean_s: float, driver_s: float) -> Fed:
    lengths = np.random.default_rng(0)
    spans: list[tuple[float, float]] = []  # start and end of each job
    running: list[tuple[float, int, Job]] = []  # a heap by end
    now, short = 0.0, None
    while True:
        job = None
        if len(running) < slots:
            job = protocol.next_job()
        if job is not None:
            now += driver_s
            end = now + mean_s * lengths.uniform(0.5, 1.5)
            heapq.heappush(running, (end, len(spans), job))
            spans.append((now, end))
            continue
        if not running:
            break
        if len(running) < slots and short is None:
            short = now
        end, _, job = heapq.heappop(running)
        now = max(now, end)
        protocol.end(job)
    return Fed(len(spans), _busy(spans, slots, short or now), _busy(spans, slots, now))


def _busy(spans: list[tuple[float, float]], slots: int, until: float) -> float:
    """Share of the time of all slots that jobs take."""
    busy = 0.0
    for start, end in spans:
        busy += max(0.0, min(end, until) - start)
    return busy / (slots * until)
