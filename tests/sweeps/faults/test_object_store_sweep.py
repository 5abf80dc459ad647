"""A sweep whose results lie in an object store: killed, taken up from another machine, cut off, finished, reported."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
from ray.cluster_utils import Cluster

from carft.catalog.catalog import BUILT_IN
from carft.store.mirror import local_folder
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.buckets import BUCKET, KEY, SECRET, Server, serving
from tests.support.faults import SMALL, Sweep
from tests.support.gates import Gate, closed_gate
from tests.support.helpers import TASK, run_cli

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.ray, pytest.mark.usefixtures("whole_world")]

PREFIX = "runs/one"
URL = f"s3://{BUCKET}/{PREFIX}"
#: zero-shot, two trials and a confirm cell
SWEEP, CELLS = (*SMALL, "--trials", 2), 4


@dataclass
class Story:
    """What happens to one results folder in a bucket, and what was seen of it."""

    server: Server
    place: Path
    before: Mapping[str, str] = field(default_factory=dict)  # objects of what was done when the first machine died
    after: Mapping[str, str] = field(default_factory=dict)  # all objects in the end
    said: str = ""
    again: dict[str, object] = field(default_factory=dict)

    def machine(self, name: str) -> dict[str, str]:
        (self.place / name).mkdir(exist_ok=True)
        return self.server.machine(self.place / name / "mirrors")

    def sweep(self, driver: str, worker: str, gate: Gate, *arguments: object) -> Sweep:
        """A sweep from one machine whose cells run on another, or on the same."""
        mirror = Path(self.machine(worker)["CARFT_MIRRORS"]) / local_folder(URL).name
        return Sweep(mirror, *SWEEP, *arguments, gate=gate, env=self.machine(driver), url=URL)

    def finished(self) -> list[str]:
        """The cells for which nothing is left to do: search cells, and those that were evaluated on every set."""
        names = self.server.names(PREFIX)
        cells = [name.split("/")[1] for name in names if name.endswith("/record.json")]
        sets = {cell: sum(f"{cell}/evaluations/" in name for name in names if name.endswith(".json")) for cell in cells}
        untouched = [cell for cell in cells if not sets[cell] and f"cells/{cell}/history.parquet" in names]
        return untouched + [cell for cell in cells if sets[cell] == len(BUILT_IN.card(TASK).sets)]

    def records(self) -> list[str]:
        return [name for name in self.server.names(PREFIX) if name.endswith("/record.json")]

    def run(self, *arguments: object, machine: str = "third") -> str:
        with patch.dict(os.environ, self.machine(machine)):
            done = run_cli(*arguments, "--results", URL)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with serving() as server, pytest.MonkeyPatch.context() as patched:
        story = Story(server, tmp_path_factory.mktemp("story"))
        for name, value in {**server.settings, "CARFT_MIRRORS": story.machine("node")["CARFT_MIRRORS"]}.items():
            patched.setenv(name, value)  # what the processes of the cluster will find
        gates = tmp_path_factory.mktemp("gates")
        with closed_gate(gates / "1") as gate:
            the_first_machine_dies(story, gate)
        with closed_gate(gates / "2") as gate:
            others_go_on_though_they_are_cut_off_for_a_while(story, gate)
        story.again = json.loads(story.run("sweep", *SWEEP, "--json", machine="second"))
        story.run("report", "--out", story.place / "report")
        yield story


def the_first_machine_dies(story: Story, gate: Gate) -> None:
    sweep = story.sweep("first", "first", gate)
    try:
        sweep.until(lambda: gate.held() and story.finished(), "zero-shot is finished and a cell is held")
        os.killpg(sweep.process.pid, signal.SIGKILL)
        sweep.process.wait()
    finally:
        sweep.kill()
    story.before = cells_of(story.server.names(PREFIX), story.records())


def others_go_on_though_they_are_cut_off_for_a_while(story: Story, gate: Gate) -> None:
    """A driver and a node that share no folder."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    sweep = story.sweep("second", "node", gate, "--gpus", 0, "--address", cluster.address)
    try:
        sweep.until(gate.held, "a cell is held")
        story.server.stop()
        gate.let_one()
        sweep.until(lambda: "does not answer" in sweep.said, "the sweep notices")
        story.server.start()
        sweep.until(lambda: "answers again" in sweep.said, "the sweep goes on")
        gate.open()
        assert sweep.end() == 0, sweep.said
        story.said = sweep.said
    finally:
        sweep.kill()
        cluster.shutdown()
    story.after = story.server.names(PREFIX)


def cells_of(names: Mapping[str, str], records: list[str]) -> dict[str, str]:
    """The objects that say what the finished cells are."""
    done = {name.rpartition("/")[0] for name in records}
    return {name: digest for name, digest in names.items() if name.rpartition("/")[0] in done}


def test_what_one_machine_finished_another_one_neither_loses_nor_repeats(story: Story) -> None:
    assert 0 < len([name for name in story.before if name.endswith("/record.json")]) < CELLS
    assert story.before.items() <= story.after.items()
    assert len(story.records()) == CELLS and not any(name.startswith("failures/") for name in story.after)
    assert "Traceback" not in story.said
    assert re.search(r"cells done, [1-9] found done, 0 failed", story.said)


def test_the_driver_had_the_records_from_the_object_store_alone(story: Story) -> None:
    logs = {name: list((story.place / name).glob("mirrors/*/logs/*.log")) for name in ("second", "node")}
    assert logs["node"] and not logs["second"]
    weights = {name: list((story.place / name).rglob("model.safetensors")) for name in ("second", "node")}
    assert weights["node"] and not weights["second"]


def test_the_same_command_again_runs_nothing(story: Story) -> None:
    assert story.again["cells_reused"] == CELLS and not story.again["cells_done"] and not story.again["failed"]


def test_numbers_are_those_of_a_folder(story: Story, tmp_path: Path, execution: Execution) -> None:
    there, here = Store(next((story.place / "third" / "mirrors").iterdir())), Store(tmp_path)
    for record in there.records():
        unseal = bool(there.evaluated(record.id))
        run_cell(record.cell, here, execution, unseal=unseal)
        assert here.metrics(record.id) == there.metrics(record.id)
    (study,) = there.studies()
    assert study.winner and len(study.confirm) == 1


def test_every_opening_is_logged_once(story: Story) -> None:
    """Each cell was opened by one job, or by two when the first one died or was cut off."""
    store = Store(next((story.place / "third" / "mirrors").iterdir()))
    lines = [(line.cell, line.set) for line in store.unsealings()]
    opened = {(cell, name) for cell in store.ids() for name in store.evaluated(cell)}
    assert set(lines) == opened and max(map(lines.count, lines)) <= 2


def test_a_machine_that_has_nothing_sees_all_of_it(story: Story) -> None:
    state = json.loads(story.run("status", "--all", "--json", machine="fourth"))
    assert state["cells"] == CELLS and state["sweeps"][-1]["outcome"] == "done"
    assert len(json.loads(story.run("ls", "cells", "--json", machine="fourth"))) == CELLS
    assert "Every table holds" in story.run("report", "verify", "--out", story.place / "report")
    why = json.loads(story.run("report", "why", "tasks.icons-3/mix-7/ft.test_top1", "--json"))
    assert why["cells"]


def test_no_secret_is_written_anywhere(story: Story) -> None:
    files = {str(path): path.read_bytes() for path in story.place.parent.rglob("*") if path.is_file()}
    objects = {key: story.server.read(key) for key in story.server.everything()}
    assert len(files) > len(objects) > 20
    for secret in (KEY, SECRET):
        found = [name for name, content in {**files, **objects}.items() if secret.encode() in content]
        assert not found, found
