"""Tune's searcher over all studies at once, so that no core idles while any task has work, and its scheduler."""

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from carft.core.errors import UserError
from carft.core.failure_kinds import FailureKind
from sweeps.faults.policy import policy_of
from sweeps.faults.process import StopSignal
from sweeps.faults.storage import StorageRetry
from sweeps.faults.watchdog import gpu_of, how_it_ended, log_path
from sweeps.plan.resources import Resources
from sweeps.ray_backend.epochs import EPOCH_VALUES
from sweeps.ray_backend.gpus import HOLDS, GpuHealth, concurrency
from sweeps.ray_backend.jobs import Payload, payload_of, record_failure
from sweeps.search.jobs import Job
from sweeps.search.protocol import Protocol

#: seconds between two questions to Ray for its nodes: an answer takes as long as the rest of a job's bookkeeping
LOOK_S = 1.0


class ProtocolSearcher(Searcher):
    """Asks the protocol for jobs and reports to it how they ended.

    notify: called after every change. gpus: gets how jobs end on GPUs. stop: the signal that stops the sweep.
    """

    def __init__(
        self,
        protocol: Protocol,
        request: Resources,
        retry: StorageRetry,
        notify: Callable[[], None],
        gpus: GpuHealth,
        stop: StopSignal,
    ) -> None:
        super().__init__(metric="failure", mode="max")
        self.protocol, self.request, self.retry, self.notify = protocol, request, retry, notify
        self.gpus, self.stop = gpus, stop
        self.name = uuid4().hex
        """Name of the sweep in the logs of its jobs."""
        self.jobs: dict[str, Job] = {}
        self.attempts: Counter[str] = Counter()  # job key -> times it ended without being done
        self.ended = False  # whether a job ended since the last notification
        self.error: UserError | None = None  # why the sweep cannot go on
        self._slots = -math.inf, 0, 0  # when nodes were looked for, GPUs set aside then, slots

    def suggest(self, trial_id: str) -> Any:
        self.stop.raise_again()
        if self.error is not None:
            raise self.error
        job = self.retry.call(self.protocol.next_job) if len(self.jobs) < self.slots() else None
        if job is not None or self.ended:
            self.ended = False
            self.notify()  # here, not where a job ends: after the free actor has its next job
        if job is None:
            if self.jobs:
                return None
            if self.gpus.aside and self.slots() < 1 and not self.protocol.finished():
                self.error = self.gpus.none_left()
                raise self.error
            return Searcher.FINISHED
        self.jobs[trial_id] = job
        cell = job.cell
        shown = {"kind": job.kind, "task": cell.task, "method": cell.method, "seed": cell.seed}
        return {**cell.hyperparameters, **shown, "job": self._message(job)}

    def slots(self) -> int:
        """Number of jobs that may run now."""
        looked, aside, slots = self._slots
        now = time.monotonic()
        if now - looked > LOOK_S or aside != len(self.gpus.aside):
            aside = len(self.gpus.aside)
            slots = concurrency(self.request, aside)
            self._slots = now, aside, slots
        return slots

    def is_over(self) -> bool:
        """Whether no job runs and none is left, or the sweep cannot go on."""
        return self.error is not None or (not self.jobs and self.protocol.finished())

    def stops(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial ends with this result: if it is pruned, or holds a GPU and no job is left."""
        if result.get(HOLDS):
            return self.is_over()
        job = self.jobs.get(trial_id)
        return job is not None and EPOCH_VALUES in result and self.protocol.stops(job, result[EPOCH_VALUES])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take back the job of an actor that runs no job and holds its GPU."""
        if result.get(HOLDS) and (job := self.jobs.pop(trial_id, None)) is not None:
            self.gpus.held(result[HOLDS], result["broken"])
            self.protocol.give_back(job)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self.jobs.pop(trial_id, None)
        if job is None or self.error is not None:
            return
        self.ended = True
        try:
            if not error and result is not None and EPOCH_VALUES in result:
                values = result[EPOCH_VALUES]
                self.retry.call(lambda: self.protocol.prune(job, values))
                self.retry.call(lambda: self.protocol.write_studies(at_once=False))
                return
            on_record = True
            if error or result is None:
                result, on_record = self._end_of_process(job)
            kind, reason = result.get("kind", ""), result["failure"]
            self.gpus.ended(result.get("gpu", ""), job.key, kind, reason)
            if reason:
                self._settle_failure(job, kind, reason, on_record)
            else:
                self._settle(job)
                self.retry.over()
        except UserError as error:  # Tune would count it as an error of the trial
            self.error = error

    def _end_of_process(self, job: Job) -> tuple[dict[str, Any], bool]:
        """How the process of a job ended, as an actor says it, and whether the failure has a record."""
        log, store = log_path(self.protocol.store.address, job.key), self.protocol.store
        kind, reason = self.retry.call(lambda: how_it_ended(log))
        on_record = False
        if kind == FailureKind.DEVICE:  # its process may have written a failure record before it ended
            self.retry.call(lambda: store.refresh(f"failures/{job.cell.id}.json"))
            on_record = store.failure_path(job.cell.id).is_file()
        return {"failure": reason, "kind": kind, "gpu": self.retry.call(lambda: gpu_of(log))}, on_record

    def _settle(self, job: Job, failure: str | None = None) -> None:
        """Tell the protocol how a job ended, once what it wrote is here."""
        store = self.protocol.store
        cells = [f"cells/{cell.id}" for cell in job.cells()]
        self.retry.call(lambda: store.refresh(*([f"failures/{job.cell.id}.json"] if failure else cells)))
        self.retry.call(lambda: self.protocol.end(job, failure))
        self.retry.call(lambda: self.protocol.write_studies(at_once=False))

    def _settle_failure(self, job: Job, kind: str, reason: str, on_record: bool) -> None:
        self.attempts[job.key] += 1
        if kind == FailureKind.STORAGE:
            self.retry.wait(reason)
        # cells that the job finished but could not upload count only once they are uploaded
        self.retry.call(lambda: self.protocol.store.sync([cell.id for cell in job.cells()]))
        if (tried := self.attempts[job.key]) < (most := policy_of(kind).attempts):
            self.retry.log(f"{job.key} runs again, {tried + 1} of {most} times at most: {kind}: {reason}")
            self.protocol.give_back(job)
            return
        if not on_record:
            reason = record_failure(self._message(job), kind, reason)["failure"]
        self._settle(job, reason)

    def _message(self, job: Job) -> Payload:
        catalog = self.protocol.recipe.catalog.with_suites(self.protocol.store.catalog.suites)
        request = self.request
        results, aside = self.protocol.store.address, self.gpus.aside
        prunes = self.protocol.recipe.pruner != "none"
        return payload_of(job, results, request.execution, catalog, request.hang_after, self.name, aside, prunes)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher into its scratch folder, which is never read."""
        return {}


class ParallelStartScheduler(FIFOScheduler):
    """First in, first out; a job that waits for its actor to start keeps waiting when another actor is free.

    Tune's scheduler gives such a job to the free actor and cancels the start. Where jobs are shorter than a start, one
    actor then does all the work, and new nodes get no job. Here the scheduler chooses no such job. Tune then gives the
    free actor a new job, or the waiting one when there is no new job.
    """

    def __init__(self, stops: Callable[[str, dict[str, Any]], bool]) -> None:
        """stops: whether a trial, by its id, ends with a result."""
        super().__init__()
        self.stops = stops

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial that is pruned, or an actor that holds a GPU once no job is left."""
        return TrialScheduler.STOP if self.stops(trial.trial_id, result) else TrialScheduler.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Return None: Tune chooses."""
