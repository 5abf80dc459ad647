"""Tune's scheduler, for jobs that are shorter than the start of an actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.ray_backend.gpus import HOLDS

#: actors that may start at a time; Tune's default is 1. The searcher limits the number of jobs to the slots
ACTORS_STARTING = 10_000


class ParallelStartScheduler(FIFOScheduler):
    """First in, first out; a job that waits for its actor to start keeps waiting when another actor is free.

    Tune's scheduler gives such a job to the free actor and cancels the start. Where jobs are shorter than a start, one
    actor then does all the work, and new nodes get no job. Here the free actor gets a new job, or the waiting one when
    there is no new job: Tune does both with jobs that its scheduler does not choose.
    """

    def __init__(self, over: Callable[[], bool]) -> None:
        """over: whether the sweep has no job left, so that actors that only hold a GPU end."""
        super().__init__()
        self.over = over

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """End an actor that holds a GPU once no job is left."""
        return TrialScheduler.STOP if result.get(HOLDS) and self.over() else TrialScheduler.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Return None: Tune chooses."""
