"""Tune's scheduler, for jobs that are shorter than the start of an actor."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import FIFOScheduler

#: how many actors may be starting at a time; Tune's own choice is one. The searcher hands out no more than there are
#: slots
ACTORS_STARTING = 10_000


class ParallelStartScheduler(FIFOScheduler):
    """First in, first out, but a job that waits for its actor to start goes on waiting when another actor is free.

    Tune's own would give the job to the free actor and cancel the start: where jobs are shorter than a start, one actor
    would do all the work, and nodes that are added would never get any. The free actor has a new job instead, or this
    one when there is no new one: both are what Tune does with jobs that its scheduler does not choose.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """No job in particular."""
