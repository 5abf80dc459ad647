"""Tune's scheduler, for jobs that are shorter than the start of an actor."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import FIFOScheduler

#: actors that may start at a time; Tune's default is 1. The searcher limits the number of jobs to the slots
ACTORS_STARTING = 10_000


class ParallelStartScheduler(FIFOScheduler):
    """First in, first out; a job that waits for its actor to start keeps waiting when another actor is free.

    Tune's scheduler gives such a job to the free actor and cancels the start. Where jobs are shorter than a start, one
    actor then does all the work, and new nodes get no job. Here the free actor gets a new job, or the waiting one when
    there is no new job: Tune does both with jobs that its scheduler does not choose.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """No job in particular."""
