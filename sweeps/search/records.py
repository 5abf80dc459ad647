"""What is known of jobs: from the records of a results folder, and from how jobs end. No Ray."""

from collections.abc import Mapping

import numpy as np

from carft import NUMERICS
from carft.core.errors import UserError
from carft.store.failures import read_failure
from carft.store.records import Store, all_metrics
from sweeps.faults.policy import final_failures, policy_of
from sweeps.search.jobs import Job
from sweeps.search.progress import State


class Recorded:
    """Makes a :class:`State` from records.

    retry_failed: whether jobs that failed before, for a reason of their own, run again.
    """

    def __init__(self, store: Store, retry_failed: bool) -> None:
        self.store = store
        self.state = State()
        self.reused: set[str] = set()
        """Cells that were done before this sweep."""
        self.remarks: dict[str, str] = {}
        """Damaged cell -> what is wrong and what the sweep does about it."""
        self.jobs: dict[str, Job] = {}
        """Cells that are done, and keys of jobs that failed -> the job."""
        self._failed_before = {} if retry_failed else final_failures(store)

    def read(self, job: Job) -> None:
        """Note what is on disk of a job: its records, or else that it failed before."""
        found: dict[str, Mapping[str, float]] = {}
        for cell in job.cells():
            metrics, failure = None, self._failed_before.get(job.key)
            try:
                metrics = self._metrics(job, cell.id)
            except UserError as damage:
                failure = self._refusal(cell.id, damage) or failure
            if metrics is None:
                if failure:
                    self.note_failure(job, failure)
                return
            found[cell.id] = metrics
        self._note(job, found)
        if job.kind != "oracle":
            self.reused.update(found)

    def _metrics(self, job: Job, cell: str) -> Mapping[str, float] | None:
        """Metrics of a cell that has a record of this code and, unless it is sealed, the evaluations of its task."""
        if not self.store.is_done(cell):
            return None
        record, evaluations = self.store.read_whole(cell)
        if record.numerics != NUMERICS:
            return None
        if self.store.weights_path(cell).is_file() and not self.store.has_weights(cell):
            self.remarks[cell] = f"The weights of cell {cell} are damaged; it trains again where they are needed."
        if job.kind != "search" and not evaluations.keys() >= set(self.store.catalog.card(job.cell.task).sets):
            return None
        return all_metrics(record, evaluations)

    def _refusal(self, cell: str, damage: UserError) -> str:
        """Why a damaged cell is not made again, which is one that was evaluated on held-out sets; else empty."""
        try:
            self.store.require_sealed(cell, damage)
        except UserError as refusal:
            if refusal is damage:
                raise
            return str(refusal)
        self.remarks[cell] = f"{damage.message} The cell is made again."
        return ""

    def note_result(self, job: Job) -> None:
        """Note that a job is done; raises when its records cannot be read."""
        self._note(job, {cell.id: self.store.metrics(cell.id) for cell in job.cells()})

    def _note(self, job: Job, metrics: Mapping[str, Mapping[str, float]]) -> None:
        if job.kind == "oracle":
            self.state.opened.add(job.cell.id)
            return
        self.jobs.update(dict.fromkeys(metrics, job))  # first: another thread looks them up
        self.state.done.update(metrics)

    def note_failure(self, job: Job, reason: str) -> None:
        """Note that a job failed."""
        self.jobs[job.key] = job
        self.state.failed[job.key] = reason
        try:
            failure = read_failure(self.store, job.cell.id)
        except UserError:  # a corrupt record of a failure tells nothing
            return
        if failure is not None and job.kind == "search" and policy_of(failure.kind).ends_study:
            self.state.code_errors[job.key] = failure.reason


def validated_epochs(store: Store, cell: str) -> list[float]:
    """val/top1 of a finished cell after each epoch."""
    column = store.history(cell).get("val/top1", np.empty(0))
    return column[~np.isnan(column)].tolist()
