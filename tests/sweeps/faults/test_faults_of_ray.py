"""Processes of Ray that are killed in the middle of work, as the kernel does where memory runs out.

Cells compute nothing (``tests/support/dry.py``), and trials wait at a gate: what happens meets all of them half way.
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
from sweeps.ray_backend.ray_monitor import RESUME_HINT
from sweeps.recipes.loading import load_recipe
from tests.support import dry
from tests.support.faults import Files, Sweep, began, below, finished, outcome, repeated_jobs, require_gone, toll
from tests.support.gates import Gate
from tests.support.helpers import ROOT
from tests.support.nodes import SOON, Nodes, raylet

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.ray]

TASKS, METHODS, TRIALS = ["icons-3/mix-7", "icons-3/mix-9"], ["zeroshot", "ft"], 6
ASKED = ("--tasks", ",".join(TASKS), "--methods", ",".join(METHODS), "--trials", TRIALS, "--seeds", 3)
#: zero-shot on two tasks, six trials and three confirm cells on each
CELLS = 20
#: what only Ray says
DUMPS = ("state-dump", "raylet)", "GCS", "Traceback", "Trials did not complete")

Before = Mapping[str, Files]


@contextlib.contextmanager
def sweeping(results: Path, gate: Gate, *arguments: object) -> Iterator[Sweep]:
    sweep = Sweep(results, "miniature", *ASKED, *arguments, gate=gate, env=dry.ENVIRONMENT)
    try:
        yield sweep
    finally:
        sweep.kill()


def met(sweep: Sweep, gate: Gate, slots: int, known: Container[int] = ()) -> dict[int, str]:
    """Process -> trial, once the zero-shot cells are finished and a trial waits in every slot; none of ``known``."""

    def waiting() -> dict[int, str]:
        there = (process for process in gate.held() if process not in known and Path(f"/proc/{process}").is_dir())
        return {process: gate.held()[process] for process in there}

    sweep.until(lambda: len(finished(sweep.results)) == len(TASKS), "zero-shot is finished")
    sweep.until(lambda: len(waiting()) >= slots, "a trial waits in every slot")
    return waiting()


def own(sweep: Sweep, title: str) -> int:
    """The process of the sweep's own Ray that has this title."""
    (found,) = [process for process, its in below(sweep.process.pid).items() if title in its.partition(" ")[0]]
    return found


def require_whole(sweep: Sweep, before: Before, tmp_path: Path) -> None:
    """Nothing of it shows in the results, and people read sentences only."""
    paid = toll(before, sweep.results)
    assert (paid.finished, paid.lost, paid.repeated, paid.all) == (len(TASKS), 0, 0, CELLS)
    assert not Store(sweep.results).failed()
    if not (tmp_path / "calm").exists():
        dry.undisturbed(load_recipe("miniature").changed(TASKS, METHODS, TRIALS, 3), tmp_path / "calm")
    assert outcome(sweep.results) == outcome(tmp_path / "calm")
    require_quiet(sweep)


def require_quiet(sweep: Sweep) -> None:
    assert not [dump for dump in DUMPS if dump in sweep.said], sweep.said


#: what a sweep says of a dead raylet: whether its process or its node is noticed first is a matter of chance
DEAD_RAYLET = (
    "Ray's raylet on this machine died.",
    "The node that the sweep itself runs on is dead for Ray on this machine.",
)
#: fault, title of a process that is killed, what the sweep may say, exit code
DEATHS = (
    ("kill -9 of the raylet of a sweep on one machine", "raylet/raylet", DEAD_RAYLET, 2),
    (
        "kill -9 of Ray's control service on one machine",
        "gcs/gcs_server",
        ("Ray's control service (gcs_server) on this machine died.",),
        2,
    ),
    # the raylet ends with its agent
    ("kill -9 of Ray's dashboard agent on one machine", "ray::DashboardAgent", DEAD_RAYLET, 2),
    ("kill -9 of Ray's control service, and SIGTERM to the sweep", "gcs/gcs_server", ("Stopped.",), 143),
)
RESUMES = "Finished cells are kept; the same command goes on where it stopped."


def test_a_sweep_whose_own_ray_dies_ends_in_a_sentence_and_goes_on_with_the_same_command(
    tmp_path: Path, gate: Gate
) -> None:
    results, seen, before = tmp_path / "results", dict[int, int](), dict[str, Before]()
    known: dict[int, str] = {}
    for fault, title, says, code in DEATHS:
        with sweeping(results, gate) as sweep:
            known |= met(sweep, gate, os.cpu_count() or 1, known)
            before[fault] = finished(results)
            seen |= {process: began(process) for process in below(sweep.process.pid)}
            os.kill(own(sweep, title), signal.SIGKILL)
            if code == 128 + signal.SIGTERM:
                os.kill(sweep.process.pid, signal.SIGTERM)
            assert sweep.end() == code, sweep.said
        assert any(f"{words} {RESUMES}" in sweep.said for words in says), sweep.said
        require_quiet(sweep)
        assert read_states(Store(results))[-1].outcome == ("broken" if code == 2 else "stopped")
    gate.open()
    with sweeping(results, gate, "--json") as sweep:
        assert sweep.end() == 0, sweep.said
    assert (sweep.answer["cells_done"], sweep.answer["cells_reused"]) == (CELLS - len(TASKS), len(TASKS))
    for files in before.values():
        require_whole(sweep, files, tmp_path)
    require_gone(seen)


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


def test_all_nodes_of_a_cluster_are_killed_and_one_comes_back(workers: Workers, tmp_path: Path, gate: Gate) -> None:
    results, there = tmp_path / "results", [workers.add(cpus=1), workers.add(cpus=1)]
    with sweeping(results, gate, "--gpus", 0, "--address", workers.cluster.address, "--patience", 600) as sweep:
        first, before = met(sweep, gate, 2), finished(results)
        for node in there:
            workers.kill(node)
        for trial in first.values():
            sweep.until(lambda t=trial: f"{t} runs again, " in sweep.said, "the sweep knows that all are gone")
        workers.add(cpus=2)
        assert set(met(sweep, gate, 2, known=first).values()) == set(first.values())
        gate.open()
        assert sweep.end() == 0, sweep.said
    assert repeated_jobs(results) == set(first.values())
    require_whole(sweep, before, tmp_path)


KILLED_RAYLET = "kill -9 of the raylet that a sweep on a cluster is attached to"
KILLED_HEAD = "kill -9 of the head of a cluster, and a new one"


def test_a_sweep_that_loses_the_head_or_its_own_node_says_so_and_goes_on_with_a_new_one(
    workers: Workers, tmp_path: Path, gate: Gate
) -> None:
    """Other nodes live on."""
    results, before, known = tmp_path / "results", dict[str, Before](), dict[int, str]()
    for fault in (KILLED_RAYLET, KILLED_HEAD):
        address = workers.cluster.address
        workers.add(cpus=1)
        with sweeping(results, gate, "--gpus", 0, "--address", address, "--patience", 600) as sweep:
            known |= met(sweep, gate, 1, known)
            before[fault] = finished(results)
            if fault == KILLED_RAYLET:
                os.kill(raylet(workers.cluster.head_node), signal.SIGKILL)
            else:
                workers.kill(workers.cluster.head_node)
            assert sweep.end() == 2, sweep.said
        if fault == KILLED_RAYLET:
            assert f"The node that the sweep itself runs on is dead for the cluster at {address}." in sweep.said
        else:
            assert f"The head of the cluster at {address} has not answered for " in sweep.said
            assert f"Start it again. {RESUME_HINT}" in sweep.said
        require_quiet(sweep)
        assert read_states(Store(results))[-1].outcome == "broken"
        workers.cluster.shutdown()
        workers.restart()
    workers.add(cpus=1)
    gate.open()
    with sweeping(results, gate, "--gpus", 0, "--address", workers.cluster.address) as sweep:
        assert sweep.end() == 0, sweep.said
    for files in before.values():
        require_whole(sweep, files, tmp_path)
