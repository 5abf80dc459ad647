"""Processes of Ray that are killed in the middle of work, as the kernel does where memory runs out.

Cells compute nothing (``tests/support/dry.py``), and trials wait until they are let go (``tests/support/held.py``):
whatever happens meets all of them half way, and nothing rests on time or on how many cells there are.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from carft.store.records import Store
from carft.store.sweep_state import read_states
from sweeps.faults.restart import MAX_RESTARTS
from sweeps.recipes import load_recipe
from tests.support import dry, held
from tests.support.faults import Files, Sweep, below, finished, outcome, repeated_jobs, titles, toll
from tests.support.helpers import ROOT, environment
from tests.support.nodes import SOON, Nodes, raylet

pytestmark = [pytest.mark.slow, pytest.mark.full]

TASKS, METHODS, TRIALS = ["icons/transport", "icons/weather"], ["zeroshot", "ft"], 6
ASKED = ("--tasks", ",".join(TASKS), "--methods", ",".join(METHODS), "--trials", TRIALS)
#: zero-shot on two tasks, six trials and three confirm cells on each
CELLS = 20
AGAIN = "Ray starts again, 1 of 2 times at most."
#: what only Ray says
DUMPS = ("state-dump", "raylet)", "GCS", "Traceback", "Trials did not complete")

Before = Mapping[str, Files]


@contextlib.contextmanager
def sweeping(results: Path, *arguments: object) -> Iterator[Sweep]:
    env = {**environment(), **held.ENVIRONMENT}
    sweep = Sweep(results, "miniature", *ASKED, *arguments, env=env)
    try:
        yield sweep
    finally:
        sweep.kill()


def met(sweep: Sweep, slots: int, known: Container[int] = ()) -> dict[int, str]:
    """Process -> trial, once the zero-shot cells are finished and a trial waits in every slot; none of ``known``."""

    def waiting() -> dict[int, str]:
        return {process: job for process, job in held.waiting(sweep).items() if process not in known}

    sweep.until(lambda: len(finished(sweep.results)) == len(TASKS), "zero-shot is finished")
    sweep.until(lambda: len(waiting()) >= slots, "a trial waits in every slot")
    return waiting()


def own(sweep: Sweep, title: str) -> int:
    """The process of the sweep's own Ray that has this title."""
    (found,) = [process for process, its in below(sweep.process.pid).items() if title in its.partition(" ")[0]]
    return found


def require_whole(sweep: Sweep, fault: str, before: Before, tmp_path: Path) -> None:
    """Nothing of it shows in the results, and people read sentences only."""
    paid = toll(fault, before, sweep.results)
    assert (paid.finished, paid.lost, paid.repeated, paid.all) == (len(TASKS), 0, 0, CELLS)
    assert not Store(sweep.results).failed()
    dry.undisturbed(load_recipe("miniature").changed(TASKS, METHODS, TRIALS), tmp_path / "calm")
    assert outcome(sweep.results) == outcome(tmp_path / "calm")
    require_quiet(sweep)


def require_quiet(sweep: Sweep) -> None:
    assert not [dump for dump in DUMPS if dump in sweep.said], sweep.said


@pytest.mark.parametrize(
    ("title", "fault"),
    [
        ("raylet/raylet", "kill -9 of the raylet of a sweep on one machine"),
        ("gcs/gcs_server", "kill -9 of Ray's control service on one machine"),
        ("ray::DashboardAgent", "kill -9 of Ray's dashboard agent on one machine"),
    ],
)
def test_a_sweep_starts_its_own_ray_again_when_it_dies(tmp_path: Path, title: str, fault: str) -> None:
    results = tmp_path / "results"
    with sweeping(results, "--json") as sweep:
        first = met(sweep, os.cpu_count() or 1)
        before, process = finished(results), sweep.process.pid
        (state,) = read_states(Store(results))
        os.kill(own(sweep, title), signal.SIGKILL)
        sweep.until(lambda: AGAIN in sweep.said, "the sweep notices")
        assert set(met(sweep, len(first), known=first).values()) == set(first.values())
        held.let_go(results)
        assert sweep.end() == 0, sweep.said
    assert repeated_jobs(results) == set(first.values())
    require_whole(sweep, fault, before, tmp_path)
    (end,) = read_states(Store(results))
    assert (end.name, end.pid, end.outcome) == (state.name, process, "done")
    assert (end.counts.done, end.counts.reused, end.counts.failed) == (CELLS, 0, 0)
    said = sweep.answer
    assert (said["cells_done"], said["cells_reused"], said["plan"]["predicted_cells"]) == (CELLS, 0, CELLS)


def test_a_sweep_whose_ray_dies_again_and_again_ends_in_a_sentence(tmp_path: Path) -> None:
    results, seen = tmp_path / "results", {}
    with sweeping(results) as sweep:
        known: dict[int, str] = {}
        for _ in range(MAX_RESTARTS + 1):
            known |= met(sweep, os.cpu_count() or 1, known)
            seen |= below(sweep.process.pid)
            os.kill(own(sweep, "raylet/raylet"), signal.SIGKILL)
        assert sweep.end() == 2, sweep.said
    assert "Ray's raylet on this machine died. Finished cells are kept; the same command goes on" in sweep.said
    assert sweep.said.count("Ray starts again, ") == MAX_RESTARTS
    require_quiet(sweep)
    (state,) = read_states(Store(results))
    assert state.outcome == "broken"
    before = finished(results)
    held.let_go(results)
    with sweeping(results) as sweep:
        assert sweep.end() == 0, sweep.said
    require_whole(sweep, "Ray's raylet dies three times in one sweep", before, tmp_path)
    assert not titles(seen)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_sweep_that_waits_for_a_dead_control_service(tmp_path: Path, number: int, code: int) -> None:
    results = tmp_path / "results"
    with sweeping(results) as sweep:
        met(sweep, os.cpu_count() or 1)
        os.kill(own(sweep, "gcs/gcs_server"), signal.SIGKILL)
        os.kill(sweep.process.pid, number)
        assert sweep.end() == code, sweep.said
    assert "Stopped. Finished cells are kept; the same command goes on where it stopped." in sweep.said
    assert AGAIN not in sweep.said
    require_quiet(sweep)


class Workers(Nodes):
    """A head that runs no cells, as on most clusters."""

    def restart(self) -> None:
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": SOON}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = Workers()
    try:
        yield found
    finally:
        found.cluster.shutdown()


def test_all_nodes_of_a_cluster_are_killed_and_one_comes_back(workers: Workers, tmp_path: Path) -> None:
    results, there = tmp_path / "results", [workers.add(cpus=1), workers.add(cpus=1)]
    with sweeping(results, "--address", workers.cluster.address, "--patience", 600) as sweep:
        first, before = met(sweep, 2), finished(results)
        for node in there:
            workers.kill(node)
        for trial in first.values():
            sweep.until(lambda t=trial: f"{t} runs again, " in sweep.said, "the sweep knows that all are gone")
        workers.add(cpus=2)
        assert set(met(sweep, 2, known=first).values()) == set(first.values())
        held.let_go(results)
        assert sweep.end() == 0, sweep.said
    assert repeated_jobs(results) == set(first.values())
    require_whole(sweep, "kill -9 of all nodes of a cluster, one comes back", before, tmp_path)


def test_a_sweep_whose_own_node_is_killed_ends_in_a_sentence_though_others_live(
    workers: Workers, tmp_path: Path
) -> None:
    results, address = tmp_path / "results", workers.cluster.address
    workers.add(cpus=1)
    with sweeping(results, "--address", address, "--patience", 600) as sweep:
        met(sweep, 1)
        before = finished(results)
        os.kill(raylet(workers.cluster.head_node), signal.SIGKILL)
        assert sweep.end() == 2, sweep.said
    assert f"The node that the sweep itself runs on is dead for the cluster at {address}." in sweep.said
    require_quiet(sweep)
    workers.cluster.shutdown()
    workers.restart()
    workers.add(cpus=1)
    held.let_go(results)
    with sweeping(results, "--address", workers.cluster.address) as sweep:
        assert sweep.end() == 0, sweep.said
    require_whole(sweep, "kill -9 of the raylet that a sweep on a cluster is attached to", before, tmp_path)
