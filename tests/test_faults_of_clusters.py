"""Ranks, nodes and heads that are killed in the middle of a cell, and a node that is added: Ray's own several nodes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from carft.records import Store
from tests.faults import CELLS, SMALL, SWEEP, Sweep, below, finished, outcome, toll
from tests.helpers import ROOT, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "CARFT_RELIABILITY" not in os.environ,
        reason="several Ray nodes on one machine want idle cores: make reliability",
    ),
]

#: a node that is gone is noticed in a second
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}


def test_a_rank_that_is_killed_mid_epoch_costs_no_cell(tmp_path: Path) -> None:
    results = tmp_path / "results"
    sweep = Sweep(results, *SMALL, "--trials", 1, "--workers-per-cell", 2, "--checkpoint-every", 1)
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
    log = (results / "logs" / f"search-{checkpoint.stem}.log").read_text()
    assert log.count("[job ") == 2
    paid = toll("kill -9 of a Ray Train rank in the middle of an epoch", before, results)
    assert (paid.finished, paid.lost, paid.repeated, paid.all) == (1, 0, 0, 3)
    assert Store(results).read(checkpoint.stem).provenance["execution"]["workers"] == 2
    assert not Store(results).failed()


class Nodes:
    """A head and another node, with a CPU each, that a sweep can join; nodes come and go."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": SOON}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.other = self.add()

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=1)

    def works(self, sweep: Sweep, node: Any) -> bool:
        """Whether a cell of a sweep runs on a node now."""
        return bool(set(sweep.running().values()) & set(below(raylet(node))))

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


def test_a_node_that_is_killed_costs_no_cell_and_a_node_that_is_added_is_used(
    nodes: Nodes, calm: dict[str, object], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    sweep = Sweep(results, *SWEEP, "--address", nodes.cluster.address)
    try:
        first = nodes.other
        sweep.until(lambda: finished(results) and nodes.works(sweep, first), "a cell runs on the second node")
        before = {"killed": finished(results)}
        nodes.kill(first)
        third = nodes.add()
        before["added"] = finished(results)
        sweep.until(lambda: nodes.works(sweep, third), "a cell runs on the node that was added")
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    for fault, done in (("kill -9 of a whole node", "killed"), ("a node is added", "added")):
        paid = toll(fault, before[done], results)
        assert (paid.lost, paid.repeated, paid.all) == (0, 0, CELLS)
        assert 0 < paid.finished < CELLS
    assert not Store(results).failed()
    assert outcome(results) == calm


def test_a_sweep_whose_head_was_killed_goes_on_with_a_new_one(
    nodes: Nodes, calm: dict[str, object], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    soon = {**environment(), "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}  # a minute, where nobody says otherwise
    sweep = Sweep(results, *SWEEP, "--address", nodes.cluster.address, env=soon)
    try:
        sweep.until(lambda: len(finished(results)) > 1 and sweep.running(), "cells are finished and one runs")
        before = finished(results)
        nodes.kill(nodes.cluster.head_node)
        assert sweep.end() != 0
    finally:
        sweep.kill()
    nodes.cluster.shutdown()
    nodes.restart()
    again = Sweep(results, *SWEEP, "--address", nodes.cluster.address)
    try:
        assert again.end() == 0, again.said
    finally:
        again.kill()
    paid = toll("kill -9 of the head of a cluster, and a new one", before, results)
    assert (paid.lost, paid.repeated, paid.all) == (0, 0, CELLS)
    assert 0 < paid.finished < CELLS
    assert outcome(results) == calm
