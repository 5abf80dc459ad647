"""Cells that compute nothing and trials that wait for a test, for the workers of a sweep that it starts.

``RAY_RUNTIME_ENV_HOOK=tests.support.held.runtime_env`` makes Ray call :func:`install` in every worker of the sweep. A
trial says that it waits, and does so before it writes anything until the test has let go. Other cells wait for
nothing.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from carft.store.records import Store
from sweeps.search.protocol import Job
from tests.support import dry
from tests.support.faults import Sweep

ENVIRONMENT = {"RAY_RUNTIME_ENV_HOOK": "tests.support.held.runtime_env"}


def runtime_env(asked: dict[str, Any] | None) -> dict[str, Any]:
    """Ray's hook."""
    return {**(asked or {}), "worker_process_setup_hook": "tests.support.held.install"}


def install() -> None:
    """As ``dry.install``, but trials wait."""
    dry.install()
    import sweeps.ray_backend.jobs

    run = sweeps.ray_backend.jobs.compute_job

    def held(job: Job, message: object, store: Store, *rest: object) -> None:
        if job.kind == "search":
            _place(store.root).mkdir(exist_ok=True)
            (_place(store.root) / f"{os.getpid()}-{job.key}").touch()
            while not _released(store.root).exists():
                time.sleep(0.05)
        run(job, message, store, *rest)

    sweeps.ray_backend.jobs.compute_job = held


def let_go(results: Path) -> None:
    """Trials wait no more."""
    _released(results).touch()


def waiting(sweep: Sweep) -> dict[int, str]:
    """Process -> the trial that waits in it, of the processes that are there."""
    found = {}
    for path in _place(sweep.results).glob("*"):
        process, _, job = path.name.partition("-")
        if Path(f"/proc/{process}").is_dir():
            found[int(process)] = job
    return found


def _place(results: Path) -> Path:
    return results.with_name(f"{results.name}.waiting")


def _released(results: Path) -> Path:
    return results.with_name(f"{results.name}.released")
