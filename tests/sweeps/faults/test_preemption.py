"""Cells that are stopped in the middle and go on from their checkpoint: at SIGTERM, and across two nodes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray.cluster_utils import Cluster

from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.run import compute
from sweeps.recipes import load_recipe
from tests.support.faults import Sweep, below, finished, repeated_jobs
from tests.support.gates import Gate
from tests.support.helpers import ROOT, TASK
from tests.support.nodes import SOON, Nodes, raylet

pytestmark = [pytest.mark.slow, pytest.mark.full]

AGAIN = "goes on after step 1 from a checkpoint"


def own_recipe(tmp_path: Path) -> Path:
    """Zero-shot, one trial and one confirm cell of two epochs."""
    recipe = load_recipe("miniature").changed([TASK], ["zeroshot", "ft"], trials=1, seeds=1)
    training = recipe.training.model_copy(update={"epochs": 2})
    own = recipe.model_copy(update={"training": training}).model_dump(exclude_none=True)
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(own))
    return path


def test_a_sweep_that_gets_sigterm_leaves_checkpoints_and_goes_on_from_them(
    gate: Gate, tmp_path: Path, bench: CellContext
) -> None:
    results, recipe = tmp_path / "results", own_recipe(tmp_path)
    sweep = Sweep(results, recipe, gate=gate)
    try:
        sweep.until(lambda: gate.held() and finished(results), "zero-shot is finished and the trial is held")
        (trial,) = gate.held().values()
        os.kill(sweep.process.pid, signal.SIGTERM)
        gate.let(trial)
        assert sweep.end() == 128 + signal.SIGTERM, sweep.said
    finally:
        sweep.kill()
    (checkpoint,) = results.glob("checkpoints/*")
    assert checkpoint.stem == trial and not Store(results).is_done(trial)
    gate.open()
    again = Sweep(results, recipe)
    assert again.end() == 0, again.said
    assert AGAIN in (results / "logs" / f"search-{trial}.log").read_text()
    assert not list(results.glob("checkpoints/*"))
    record = Store(results).read(trial)
    assert dict(record.metrics) == compute(record.cell, bench).metrics


class Pairs(Nodes):
    """A head that computes nothing."""

    def restart(self) -> None:
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": SOON}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pairs]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = Pairs()
    try:
        yield found
    finally:
        found.cluster.shutdown()


def test_a_cell_on_two_nodes_goes_on_when_one_of_them_is_killed(gate: Gate, pairs: Pairs, tmp_path: Path) -> None:
    results, there = tmp_path / "results", [pairs.add(cpus=1), pairs.add(cpus=1)]
    asked = ("--workers-per-cell", 2, "--checkpoint-every", 1, "--patience", 600, "--address", pairs.cluster.address)
    sweep = Sweep(results, own_recipe(tmp_path), *asked, gate=gate)
    try:
        sweep.until(lambda: finished(results) and len(gate.held()) == 2, "both ranks are held after their first step")
        assert [len(gate.held().keys() & below(raylet(node)).keys()) for node in there] == [1, 1]
        trial = next(iter(gate.held().values()))
        pairs.kill(there[1])
        sweep.until(lambda: "runs again, 2 of 3 times at most: lost: " in sweep.said, "the sweep notices")
        pairs.add(cpus=1)
        gate.open()
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    assert repeated_jobs(results) == {f"search-{trial}"}
    assert AGAIN in (results / "logs" / f"search-{trial}.log").read_text()
    store = Store(results)
    assert store.read(trial).provenance["execution"]["workers"] == 2
    assert len(list(store.ids())) == 3 and not store.failed()
