"""Cells of several workers that are stopped, ranks and nodes that are killed, a node that is added: on Ray's own nodes.

Where a fault is Ray's matter and not training's, cells compute nothing (``tests/support/dry.py``). All are held half
way (``tests/support/gates.py``) until the fault has met them.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml

from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.run import compute
from sweeps.recipes.loading import load_recipe
from tests.support import dry
from tests.support.faults import Sweep, finished, outcome, records, repeated_jobs, toll
from tests.support.gates import Gate
from tests.support.helpers import TASK
from tests.support.nodes import Nodes
from tests.sweeps.faults.test_preemption import own_recipe, stopped_and_resumed

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.ray]

METHODS, TRIALS, SEEDS = ["zeroshot", "ft", "car_ft", "wise_ft"], 8, 12
KILLED_RANK = "kill -9 of a Ray Train rank in the middle of an epoch"
KILLED_NODE = "kill -9 of one of the two nodes that a cell spans"
#: of nine tasks: zero-shot, and of two methods eight trials, twelve confirm cells and their curves of three
THOUSAND = 1017


def three_cells(folder: Path) -> list[object]:
    """The arguments of a sweep of zero-shot, one trial and one confirm cell, on two workers each, of two epochs."""
    recipe = load_recipe("miniature").changed([TASK], ["zeroshot", "ft"], trials=1, seeds=1)
    training = replace(recipe.training, epochs=2)
    own = recipe.model_copy(update={"training": training}).model_dump(exclude_none=True)
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    return [folder / "own.yaml", "--workers-per-cell", 2, "--checkpoint-every", 1]


@pytest.mark.parametrize("nodes", [True], indirect=True)
def test_a_cell_on_two_workers_goes_on_when_a_rank_or_one_of_its_two_nodes_is_killed(
    nodes: Nodes, gate: Gate, tmp_path: Path
) -> None:
    """Two nodes of one core each: a cell has a rank on both, and waits while there is one node. Search and confirm
    cells go through Ray Train inside Tune's actors. A rank of the first is killed, and a node below the other. The head
    has a dashboard, as `ray start` gives it: Ray Train asks it whether the process that coordinated a cell is alive,
    and frees the cell's resources if not."""
    results, checkpoints, before = tmp_path / "results", set[str](), {}
    second = nodes.add(cpus=1)
    sweep = nodes.training(results, *three_cells(tmp_path), gate=gate)
    try:
        for fault in (KILLED_RANK, KILLED_NODE):
            sweep.until(
                lambda: all(len(nodes.jobs(gate, node)) == 1 for node in (nodes.cluster.head_node, second)),
                "a rank is held after its first step on each node",
            )
            (cell,) = set(gate.held().values())
            sweep.until(results.joinpath("checkpoints", f"{cell}.safetensors").is_file, "its checkpoint is written")
            checkpoints.add(cell)
            before[fault] = finished(results)
            if fault == KILLED_RANK:
                killed = time.monotonic()
                os.kill(max(gate.held()), signal.SIGKILL)
                sweep.until(lambda: "runs again" in sweep.said, "the cell is to run again")
                print(f"A killed rank is noticed after {time.monotonic() - killed:.1f} s.")
                for path in gate.folder.glob("*@*"):
                    path.unlink()  # the ranks of the first attempt; its survivor is killed too
                sweep.until(lambda: len(gate.held()) == 2, "both ranks train again")
                print(f"Both ranks train again after {time.monotonic() - killed:.1f} s.")
            else:
                nodes.kill(second)
                nodes.add(cpus=1)
            gate.let(cell)
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    assert {job.partition("-")[2] for job in repeated_jobs(results)} == checkpoints and len(checkpoints) == 2
    for number, files in enumerate(before.values(), 1):
        paid = toll(files, results)
        assert (paid.finished, paid.lost, paid.repeated, paid.all) == (number, 0, 0, 3)
    store = Store(results)
    (study,) = store.studies()
    assert {store.read(cell).provenance["execution"]["workers"] for cell in store.ids()} == {2}
    assert "ood/mean/top1" in store.metrics(study.confirm[0])
    assert not store.failed()


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
    for done in before.values():
        paid = toll(done, results)
        assert (paid.lost, paid.repeated, paid.all) == (0, 0, THOUSAND)
        assert THOUSAND / 4 < paid.finished < THOUSAND
    assert not Store(results).failed()
    dry.undisturbed(load_recipe("miniature").changed(None, METHODS, TRIALS, SEEDS), tmp_path / "calm")
    assert outcome(results) == outcome(tmp_path / "calm")


def test_a_sweep_that_gets_sigterm_leaves_checkpoints_of_cells_of_two_workers_and_goes_on_from_them(
    gate: Gate, tmp_path: Path, whole_bench: CellContext
) -> None:
    results, recipe = tmp_path / "results", own_recipe(tmp_path)
    record = stopped_and_resumed(partial(Sweep, results, recipe, "--workers-per-cell", 2), gate, results)
    expected = compute(record.cell, whole_bench).metrics
    # two workers round gradients otherwise, so that a few images change: on some processors recognition moves by 0.04
    assert dict(record.metrics) == pytest.approx(expected, abs=0.05)
