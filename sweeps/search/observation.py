"""What the records of a results folder say of the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from carft.core.errors import UserError
from carft.store.failure_kinds import CODE, UNREADABLE
from carft.store.failures import read_failure
from carft.store.records import Store
from sweeps.search.progress import Job, State, StudyProgress


def observe(progress: StudyProgress, store: Store, failed_before: Mapping[str, str]) -> StudyProgress:
    """The progress of a study with the records of every job that could run now.

    A record that is there may settle a job, and so be followed by others: they are looked for too.

    Args:
        progress: What is known before.
        store: The results folder.
        failed_before: Job key -> reason, of the jobs that failed in an earlier sweep and are not run again.
    """
    while unseen := [job for job in progress.next_jobs if job.key not in progress.state.observed]:
        progress = replace(progress, state=read_records(unseen, progress.state, store, failed_before))
    return progress


def read_records(jobs: Iterable[Job], state: State, store: Store, failed_before: Mapping[str, str]) -> State:
    """The state with what is on disk of some jobs: their records, or else that they failed before."""
    for job in jobs:
        if all(_is_recorded(job, cell.id, store) for cell in job.cells()):
            state = with_result(job, state, store)
            if job.kind != "oracle":
                state = state.merged(found={cell.id for cell in job.cells()})
        elif job.key in failed_before:
            state = with_failure(job, failed_before[job.key], state, store)
        state = state.merged(observed={job.key})
    return state


def with_result(job: Job, state: State, store: Store) -> State:
    """The state with the result of a job that is done.

    Raises:
        UserError: Its records cannot be read.
    """
    if job.kind == "oracle":
        return state.merged(opened={job.cell.id})
    return state.merged(done={cell.id: store.metrics(cell.id) for cell in job.cells()})


def with_failure(job: Job, reason: str, state: State, store: Store) -> State:
    """The state with a job that failed."""
    try:
        failure = read_failure(store, job.cell.id)
    except UserError:  # a corrupt record of a failure tells nothing
        failure = None
    state = state.merged(failed={job.key: reason})
    if failure is not None and job.kind == "search" and failure.kind in (CODE, UNREADABLE):
        return state.merged(code_errors={job.key: failure.reason})
    if failure is not None and not job.trains and failure.kind == UNREADABLE:
        return state.merged(unreadable={job.cell.task: failure.reason})
    return state


def _is_recorded(job: Job, cell: str, store: Store) -> bool:
    """Whether a cell of a job has a record of this code, and, unless it is sealed, the evaluations of its task."""
    if not store.is_current(cell):
        return False
    return job.kind == "search" or store.evaluated(cell) >= set(store.catalog.card(job.cell.task).sets)
