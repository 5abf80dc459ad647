"""Sweeps at paper scale on eight simulated H100: the real protocol hands out jobs, on a simulated clock."""

from __future__ import annotations

import heapq
import random
from pathlib import Path

import pytest

from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.plan.planning import START_S, TRAIN_START_S, Plan, choose_workers_per_cell, plan_of
from sweeps.plan.resources import Resources
from sweeps.recipes.loading import load_recipe
from sweeps.search.jobs import Job
from sweeps.search.protocol import Protocol

GPUS = 8


class InstantStore(Store):
    """A results folder in memory: a cell has its record and all its evaluations once its job has ended."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.ended: set[str] = set()

    def is_current(self, cell: str) -> bool:
        return cell in self.ended

    def evaluated(self, cell: str) -> set[str]:
        return {name for card in self.catalog.cards.values() for name in card.sets} if cell in self.ended else set()

    def metrics(self, cell: str) -> dict[str, float]:
        return {"val/top1": int(cell[:8], 16) % 97 / 97, "val/loss": 1.0}


def busy_share(plan: Plan, protocol: Protocol, store: InstantStore, spread: float) -> float:
    """Run a sweep; return the GPU-seconds in which jobs compute over those of all GPUs from its start to its end.

    spread: the duration of each job is the planned one times a factor drawn from 1 - spread to 1 + spread.
    """
    drawn = random.Random(0)
    seconds = {(work.kind, work.task, work.method): work.passes * plan.rate.seconds for work in plan.left}
    start_s = TRAIN_START_S if plan.hardware.workers > 1 else 0.0
    running: list[tuple[float, str, Job]] = []
    now, computed = START_S, 0.0
    while True:
        while len(running) < plan.slots and (job := protocol.next_job()) is not None:
            method = "wise_ft" if job.kind == "curve" else job.cell.method
            length = seconds[job.kind, job.cell.task, method] * drawn.uniform(1 - spread, 1 + spread)
            computed += length * plan.hardware.workers
            heapq.heappush(running, (now + start_s + length, job.key, job))
        if not running:
            assert protocol.finished() and len(protocol.done) == protocol.total()
            return computed / (GPUS * now)
        now, _, job = heapq.heappop(running)
        store.ended |= {cell.id for cell in job.cells()}
        protocol.end(job)


@pytest.mark.parametrize("recipe", ["downstream", "ood", "domainbed"])
def test_a_sweep_at_paper_scale_keeps_eight_gpus_busy(recipe: str, tmp_path: Path) -> None:
    store = InstantStore(tmp_path)
    protocol = Protocol(load_recipe(recipe).changed(), store)
    request = choose_workers_per_cell(Resources(GPUS, Execution("cuda"), gpu_model="H100"), protocol)
    plan = plan_of(protocol, request, GPUS // request.execution.workers)
    assert busy_share(plan, protocol, store, spread=0.2) >= 0.9
