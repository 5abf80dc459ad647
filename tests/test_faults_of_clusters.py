"""Ranks, nodes and heads that are killed in the middle of a cell, and a node that is added: Ray's own several nodes.

Where a fault is Ray's matter and not training's, cells compute nothing (``tests/dry.py``) and are held half way through
their files until the fault has met them.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.cluster_utils import Cluster

from carft.records import Store
from sweeps.recipes import load_recipe
from sweeps.states import read_states
from tests import dry
from tests.faults import Sweep, below, finished, outcome, records, repeated_jobs, toll
from tests.helpers import ROOT, TASK, environment

pytestmark = pytest.mark.slow

#: a node that is gone is noticed in a second
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
METHODS, TRIALS, SEEDS = ["zeroshot", "ft", "car_ft", "wise_ft"], 8, 8
#: of nine tasks: zero-shot, and of two methods eight trials, eight confirm cells and their curves
THOUSAND = 1017


def test_a_rank_that_is_killed_mid_epoch_costs_no_cell(tmp_path: Path) -> None:
    results = tmp_path / "results"
    recipe = load_recipe("miniature").changed([TASK], ["zeroshot", "ft"], trials=1, seeds=1)
    training = recipe.training.model_copy(update={"epochs": 12})  # long enough to be met
    own = recipe.model_copy(update={"training": training}).model_dump(exclude_none=True)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    sweep = Sweep(results, tmp_path / "own.yaml", "--workers-per-cell", 2, "--checkpoint-every", 1)
    try:
        sweep.until(lambda: list(results.glob("checkpoints/*.safetensors")), "the first step is done")
        before = finished(results)
        (checkpoint,) = results.glob("checkpoints/*.safetensors")
        ranks = [process for process, title in below(sweep.process.pid).items() if "TrainWorker" in title]
        assert len(ranks) == 2
        os.kill(max(ranks), signal.SIGKILL)
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    assert repeated_jobs(results) == {f"search-{checkpoint.stem}"}
    paid = toll("kill -9 of a Ray Train rank in the middle of an epoch", before, results)
    assert (paid.finished, paid.lost, paid.repeated, paid.all) == (1, 0, 0, 3)
    assert Store(results).read(checkpoint.stem).provenance["execution"]["workers"] == 2
    assert not Store(results).failed()


class Nodes:
    """A head that a sweep can join; nodes come and go."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": SOON}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)

    def add(self, cpus: int) -> Any:
        return self.cluster.add_node(num_cpus=cpus)

    def sweep(self, results: Path, *arguments: object, **env: str) -> Sweep:
        """A sweep of cells that compute nothing, on these nodes."""
        env = {**environment(), **dry.ENVIRONMENT, **env}
        return Sweep(results, "miniature", *arguments, "--address", self.cluster.address, env=env)

    def jobs(self, sweep: Sweep, node: Any) -> set[str]:
        """The jobs of a sweep that run on a node while all of them are held."""
        processes = below(raylet(node))
        return {job for process, job in sweep.begun().items() if process in processes}

    def kill(self, node: Any) -> None:
        """What pulling a plug does: all of its processes are gone at once."""
        own = [info.process.pid for infos in node.all_processes.values() for info in infos]
        for process in [*(child for parent in own for child in below(parent)), *own]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if node is not self.cluster.head_node:
            self.cluster.remove_node(node, allow_graceful=False)


def raylet(node: Any) -> int:
    return node.all_processes["raylet"][0].process.pid


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = Nodes()
    try:
        yield found
    finally:
        found.cluster.shutdown()


def test_of_a_thousand_cells_none_is_lost_or_repeated_when_one_of_three_nodes_is_killed_and_one_added(
    nodes: Nodes, quick_disk: None, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    first, second = nodes.add(cpus=2), nodes.add(cpus=1)
    sweep = nodes.sweep(results, "--methods", ",".join(METHODS), "--trials", TRIALS, "--seeds", SEEDS)
    try:
        sweep.until(lambda: len(records(results)) > THOUSAND / 3, "a third of the cells is there")
        dry.hold(results).touch()
        cores = {nodes.cluster.head_node: 1, first: 2, second: 1}
        sweep.until(
            lambda: all(len(nodes.jobs(sweep, node)) == count for node, count in cores.items()),
            "a cell is held on each core of every node",
        )
        met = nodes.jobs(sweep, first)
        before = {"kill -9 of a whole node, one of three": finished(results)}
        nodes.kill(first)
        third = nodes.add(cpus=2)
        before["a node is added"] = finished(results)
        sweep.until(lambda: len(nodes.jobs(sweep, third)) == 2, "cells run on the node that was added")
        dry.hold(results).unlink()
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    assert repeated_jobs(results) == met
    for fault, done in before.items():
        paid = toll(fault, done, results)
        assert (paid.lost, paid.repeated, paid.all) == (0, 0, THOUSAND)
        assert THOUSAND / 4 < paid.finished < THOUSAND
    assert not Store(results).failed()
    dry.undisturbed(load_recipe("miniature").changed(None, METHODS, TRIALS, SEEDS), tmp_path / "calm")
    assert outcome(results) == outcome(tmp_path / "calm")


def test_a_sweep_whose_head_was_killed_says_so_and_goes_on_with_a_new_one(
    nodes: Nodes, quick_disk: None, tmp_path: Path
) -> None:
    results, tasks = tmp_path / "results", ["icons/transport", "icons/weather"]
    asked = ("--tasks", ",".join(tasks), "--methods", "zeroshot,ft", "--trials", 6)
    nodes.add(cpus=1)
    sweep = nodes.sweep(results, *asked, RAY_gcs_rpc_server_reconnect_timeout_s="15")  # a minute is Ray's own
    try:
        sweep.until(lambda: len(records(results)) > 3, "cells are finished")
        dry.hold(results).touch()
        before = finished(results)
        address = nodes.cluster.address
        nodes.kill(nodes.cluster.head_node)
        assert sweep.end() == 2, sweep.said
    finally:
        sweep.kill()
    assert f"The head of the cluster at {address} has not answered for " in sweep.said
    assert "Start it again; the same command goes on where it stopped." in sweep.said
    assert "Traceback" not in sweep.said and "GCS" not in sweep.said
    (state,) = read_states(Store(results))
    assert state.outcome == "broken"
    dry.hold(results).unlink()
    nodes.cluster.shutdown()
    nodes.restart()
    again = nodes.sweep(results, *asked)
    try:
        assert again.end() == 0, again.said
    finally:
        again.kill()
    paid = toll("kill -9 of the head of a cluster, and a new one", before, results)
    assert (paid.lost, paid.repeated, paid.all) == (0, 0, 20)
    assert 0 < paid.finished < paid.all
    dry.undisturbed(load_recipe("miniature").changed(tasks, ["zeroshot", "ft"], 6), tmp_path / "calm")
    assert outcome(results) == outcome(tmp_path / "calm")
