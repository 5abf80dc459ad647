"""Sweeps in the process of a test, without Ray: for tests of what a sweep leaves and not of how Ray runs it."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from carft.catalog.catalog import BUILT_IN
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.ray_backend.jobs import payload_of, run_payload
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.helpers import ROOT, run_cli

if TYPE_CHECKING:
    from sweeps.ray_backend.searcher import ProtocolSearcher

#: what Ray says of a machine with one core
NODES = [{"Alive": True, "Resources": {"CPU": 1.0}}]


def run_serially(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A command of ``cli.py`` in this process; the cells of a sweep are computed here, one after another."""
    with without_ray():
        return run_cli(*arguments, in_process=True, folder=folder)


def run_jobs(recipe: Recipe, store: Store, execution: Execution | None = None) -> Protocol:
    """The jobs of a recipe that are left, one after another in this process: the protocol of a sweep and no sweep."""
    protocol = Protocol(recipe, store)
    while (job := protocol.next_job()) is not None:
        result = run_payload(payload_of(job, str(store.root), execution or Execution(), BUILT_IN))
        assert not result["failure"], result
        protocol.end(job)
        protocol.write_studies()
    assert protocol.finished()
    return protocol


@contextmanager
def without_ray() -> Iterator[None]:
    """Within the block a sweep of this process starts no Ray. Protocol, searcher, jobs and records are real."""
    with (
        patch("ray.nodes", lambda: NODES),
        patch("sweeps.ray_backend.driver.connect", lambda request, log: None),
        patch("sweeps.ray_backend.driver.monitor_ray", lambda request, on_lost: nullcontext()),
        patch("sweeps.ray_backend.driver.run_on_tune", _run_jobs),
    ):
        yield


def _run_jobs(searcher: ProtocolSearcher) -> None:
    """What Tune does, with one job at a time and no worker process."""
    from sweeps.faults.watchdog import begin_job_log

    while (config := searcher.suggest("trial")) != searcher.FINISHED:
        message = pickle.loads(pickle.dumps(config["job"]))  # as it reaches a worker
        begin_job_log(message.results, message.job.key, message.start)
        with message.log.open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
            result = run_payload(message)
        searcher.on_trial_complete("trial", result)
