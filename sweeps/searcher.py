"""Tune's searcher over all studies at once, so that no core idles while any task has work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ray.tune.search import Searcher

from sweeps.jobs import Placement, payload, write_down
from sweeps.protocol import Job, Protocol
from sweeps.watch import how_it_ended, log_path


class ProtocolSearcher(Searcher):
    """Asks the protocol for jobs and tells it how they ended. ``notify`` is called after every change."""

    def __init__(self, protocol: Protocol, results: str, placement: Placement, notify: Callable[[], None]) -> None:
        super().__init__(metric="failure", mode="max")
        self.protocol = protocol
        self.results = results
        self.placement = placement
        self.notify = notify
        self.jobs: dict[str, Job] = {}
        self.ended = False  # whether a job ended since the last notification

    def suggest(self, trial_id: str) -> Any:
        job = self.protocol.next_job()
        if job is not None or self.ended:
            self.ended = False
            self.notify()  # here, not where a job ends: the actor that is free has its next job by now
        if job is None:
            return Searcher.FINISHED if self.protocol.finished() else None
        self.jobs[trial_id] = job
        return {"job": payload(job, self.results, self.placement, start=uuid4().hex)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self.jobs.pop(trial_id, None)
        if job is None:
            return
        reason = (result or {}).get("failure", "")
        if error or result is None:
            message = payload(job, self.results, self.placement)
            reason = write_down(message, *how_it_ended(log_path(self.results, job.cell.id)))["failure"]
        self.protocol.end(job, reason or None)
        self.protocol.write_studies()
        self.ended = True

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher into its own scratch folder, which nothing ever reads."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: records are the truth, Ray's folder is scratch."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the protocol is rebuilt from records."""
