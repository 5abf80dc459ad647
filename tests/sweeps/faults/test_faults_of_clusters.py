"""Ranks, nodes and heads that are killed in the middle of a cell, and a node that is added: Ray's own several nodes.

Where a fault is Ray's matter and not training's, cells compute nothing (``tests/support/dry.py``). All are held half
way (``tests/support/gates.py``) until the fault has met them.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from carft.store.records import Store
from carft.store.sweep_state import read_states
from sweeps.recipes import load_recipe
from tests.support import dry
from tests.support.faults import Sweep, finished, outcome, records, repeated_jobs, toll
from tests.support.gates import Gate
from tests.support.helpers import TASK
from tests.support.nodes import Nodes

pytestmark = [pytest.mark.slow, pytest.mark.full]

METHODS, TRIALS, SEEDS = ["zeroshot", "ft", "car_ft", "wise_ft"], 8, 12
#: of nine tasks: zero-shot, and of two methods eight trials, twelve confirm cells and their curves of three
THOUSAND = 1017


def three_cells(folder: Path) -> list[object]:
    """The arguments of a sweep of zero-shot, one trial and one confirm cell, on two workers each, of two epochs."""
    recipe = load_recipe("miniature").changed([TASK], ["zeroshot", "ft"], trials=1, seeds=1)
    training = replace(recipe.training, epochs=2)
    own = recipe.model_copy(update={"training": training}).model_dump(exclude_none=True)
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    return [folder / "own.yaml", "--workers-per-cell", 2, "--checkpoint-every", 1]


def test_a_rank_that_is_killed_mid_epoch_costs_no_cell(gate: Gate, tmp_path: Path) -> None:
    """Search and confirm cells go through Ray Train inside Tune's actors."""
    results = tmp_path / "results"
    sweep = Sweep(results, *three_cells(tmp_path), gate=gate)
    try:
        sweep.until(lambda: finished(results) and len(gate.held()) == 2, "both ranks are held after their first step")
        before = finished(results)
        sweep.until(lambda: any(results.glob("checkpoints/*.safetensors")), "the step's checkpoint is written")
        (checkpoint,) = results.glob("checkpoints/*.safetensors")
        os.kill(max(gate.held()), signal.SIGKILL)
        gate.open()
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    assert repeated_jobs(results) == {f"search-{checkpoint.stem}"}
    paid = toll("kill -9 of a Ray Train rank in the middle of an epoch", before, results)
    assert (paid.finished, paid.lost, paid.repeated, paid.all) == (1, 0, 0, 3)
    store = Store(results)
    workers = {cell: store.read(cell).provenance["execution"]["workers"] for cell in store.ids()}
    (study,) = store.studies()
    assert set(workers.values()) == {2}
    assert "ood/mean/top1" in store.metrics(study.confirm[0])
    assert not store.failed()


def test_a_cell_that_spans_two_nodes_goes_on_when_one_of_them_is_killed(
    nodes: Nodes, gate: Gate, tmp_path: Path
) -> None:
    """Two nodes of one core each: a cell on two workers has a rank on both, and waits while there is one node."""
    results = tmp_path / "results"
    second = nodes.add(cpus=1)
    sweep = nodes.training(results, *three_cells(tmp_path), gate=gate)
    try:
        sweep.until(
            lambda: all(len(nodes.jobs(gate, node)) == 1 for node in (nodes.cluster.head_node, second)),
            "a rank is held after its first step on each node",
        )
        before = finished(results)
        sweep.until(lambda: any(results.glob("checkpoints/*.safetensors")), "the step's checkpoint is written")
        (checkpoint,) = results.glob("checkpoints/*.safetensors")
        nodes.kill(second)
        nodes.add(cpus=1)
        gate.open()
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    assert repeated_jobs(results) == {f"search-{checkpoint.stem}"}
    paid = toll("kill -9 of one of the two nodes that a cell spans", before, results)
    assert (paid.finished, paid.lost, paid.repeated, paid.all) == (1, 0, 0, 3)
    assert not Store(results).failed()


def test_of_a_thousand_cells_none_is_lost_or_repeated_when_one_of_three_nodes_is_killed_and_one_added(
    nodes: Nodes, gate: Gate, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    first, second = nodes.add(cpus=2), nodes.add(cpus=1)
    sweep = nodes.sweep(results, "--methods", ",".join(METHODS), "--trials", TRIALS, "--seeds", SEEDS, gate=gate)
    try:
        sweep.until(lambda: len(records(results)) > THOUSAND / 3 or gate.let_held(), "a third of the cells is there")
        cores = {nodes.cluster.head_node: 1, first: 2, second: 1}
        sweep.until(
            lambda: all(len(nodes.jobs(gate, node)) == count for node, count in cores.items()),
            "a cell is held on each core of every node",
        )
        met = nodes.jobs(gate, first)
        before = {"kill -9 of a whole node, one of three": finished(results)}
        nodes.kill(first)
        third = nodes.add(cpus=2)
        before["a node is added"] = finished(results)
        sweep.until(lambda: len(nodes.jobs(gate, third)) == 2, "cells run on the node that was added")
        gate.open()
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
    nodes: Nodes, gate: Gate, tmp_path: Path
) -> None:
    results, tasks = tmp_path / "results", ["icons/transport", "icons/weather"]
    asked = ("--tasks", ",".join(tasks), "--methods", "zeroshot,ft", "--trials", 6)
    nodes.add(cpus=1)
    sweep = nodes.sweep(results, *asked, gate=gate)
    try:
        sweep.until(lambda: len(records(results)) > 3 or gate.let_held(), "cells are finished")
        sweep.until(lambda: len(gate.held()) == 2, "a cell is held on each node")
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
