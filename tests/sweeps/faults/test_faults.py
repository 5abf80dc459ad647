"""Everything that goes wrong while a sweep runs, done to real processes. What is finished is never lost or repeated."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.store.gc import leftovers
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.ray_backend.jobs import payload_of, run_payload
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol
from tests.support.faults import (
    CELLS,
    SWEEP,
    Files,
    Sweep,
    began,
    below,
    finished,
    mounted,
    outcome,
    records,
    require_gone,
    toll,
)
from tests.support.gates import Gate, closed_gate
from tests.support.helpers import TASK, run_cli

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.usefixtures("whole_world")]


@dataclass
class Story:
    """One results folder to which one thing after another happens; the same command is given after each stop."""

    results: Path
    gates: Path  # not on the disk of the results, which may be full
    own_disk: bool
    before: dict[str, Mapping[str, Files]] = field(default_factory=dict)  # fault -> what was finished when it happened
    codes: dict[str, int] = field(default_factory=dict)  # fault -> exit code of the sweep that it ended
    said: dict[str, str] = field(default_factory=dict)  # fault -> what the sweep said
    second: subprocess.CompletedProcess[str] | None = None
    victim: str = ""  # the cell whose worker was killed

    @contextlib.contextmanager
    def sweeping(self, number: int) -> Iterator[tuple[Sweep, Gate]]:
        """A sweep whose cells stop in the middle of training until they are let pass."""
        with closed_gate(self.gates / str(number)) as gate:
            sweep = Sweep(self.results, *SWEEP, gate=gate)
            try:
                yield sweep, gate
            finally:
                sweep.kill()

    def happens(self, fault: str) -> None:
        self.before[fault] = finished(self.results)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """All that can happen on one machine."""
    place = tmp_path_factory.mktemp("story")
    own_disk = mounted(place, megabytes=96)
    story = Story(place / "results", tmp_path_factory.mktemp("gates"), own_disk)
    try:
        with story.sweeping(1) as (sweep, gate):
            a_second_sweep(story, sweep, gate)
            a_worker_is_killed(story, sweep, gate)
            the_sweep_is_signalled(story, sweep, gate, "SIGINT", signal.SIGINT)
        with story.sweeping(2) as (sweep, gate):
            the_folder_goes_away(story, sweep, gate)
            the_sweep_is_signalled(story, sweep, gate, "SIGTERM", signal.SIGTERM)
        with story.sweeping(3) as (sweep, gate):
            if own_disk:
                the_disk_is_full(story, sweep, gate)
            the_sweep_is_signalled(story, sweep, gate, "driver killed", signal.SIGKILL)
        with story.sweeping(4) as (sweep, gate):
            gate.open()
            story.codes["in the end"] = sweep.end()
            story.said["in the end"] = sweep.said
        yield story
    finally:
        if own_disk:
            subprocess.run(["umount", "-l", place], check=True)


def a_second_sweep(story: Story, sweep: Sweep, gate: Gate) -> None:
    sweep.until(lambda: gate.held() and finished(story.results), "zero-shot is finished and a cell is held")
    story.happens("second sweep")
    story.second = run_cli("sweep", *SWEEP, "--results", story.results)


def a_worker_is_killed(story: Story, sweep: Sweep, gate: Gate) -> None:
    process, story.victim = next(iter(gate.held().items()))
    story.happens("worker killed")
    os.kill(process, signal.SIGKILL)
    gate.let(story.victim)
    sweep.until(lambda: story.victim in records(story.results), "the cell of the killed worker is done")
    story.said["worker killed"] = sweep.said


def the_sweep_is_signalled(story: Story, sweep: Sweep, gate: Gate, name: str, number: int) -> None:
    sweep.until(gate.held, "a cell is held")
    story.happens(name)
    if number == signal.SIGINT:  # what a terminal does: all of its foreground processes get it
        os.killpg(sweep.process.pid, number)
    else:
        os.kill(sweep.process.pid, number)
    story.codes[name] = sweep.end()
    story.said[name] = sweep.said


def the_folder_goes_away(story: Story, sweep: Sweep, gate: Gate) -> None:
    """What a share that is gone leaves: an empty place, where a stranger could write."""
    sweep.until(gate.held, "a cell is held")
    story.happens("folder away")
    away = story.results.with_name("away")
    story.results.rename(away)
    story.results.mkdir()
    gate.let_one()
    sweep.until(lambda: "does not answer" in sweep.said, "the sweep notices")
    assert not records(story.results)
    story.results.rename(story.results.with_name("stranger"))  # not removed: the sweep may be writing its state there
    away.rename(story.results)
    sweep.until(lambda: "answers again" in sweep.said, "the sweep goes on")
    story.said["folder away"] = sweep.said


def the_disk_is_full(story: Story, sweep: Sweep, gate: Gate) -> None:
    sweep.until(gate.held, "a cell is held")
    story.happens("disk full")
    filler = story.results.with_name("filler")
    with contextlib.suppress(OSError), filler.open("wb") as stream:
        while True:
            stream.write(bytes(2**16))
    gate.let_one()
    sweep.until(lambda: "does not answer" in sweep.said, "the sweep notices")
    for cell in records(story.results):
        Store(story.results).read(cell)  # nothing is torn
    filler.unlink()
    sweep.until(lambda: "answers again" in sweep.said, "the sweep goes on")
    story.said["disk full"] = sweep.said


def undisturbed(results: Path) -> None:
    """The same cells without Ray: one job after another, in this process."""
    store, recipe = Store(results), load_recipe("miniature").smoked()
    start = {"model": "icons-resnet", "pretrained": "icons-3"}
    protocol = Protocol(recipe.changed([TASK], ["zeroshot", "ft"], 4, 1, **start), store)
    while (job := protocol.next_job()) is not None:
        assert run_payload(payload_of(job, str(results), Execution(), BUILT_IN)) == {"failure": ""}
        protocol.end(job)
    protocol.write_studies()


def require_nothing_lost(story: Story, fault: str) -> None:
    paid = toll(story.before[fault], story.results)
    assert (paid.lost, paid.repeated, paid.all) == (0, 0, CELLS)
    assert 0 < paid.finished < CELLS


def test_in_the_end_everything_is_as_if_nothing_had_happened(story: Story, tmp_path: Path) -> None:
    assert story.codes["in the end"] == 0, story.said["in the end"]
    undisturbed(tmp_path / "calm")
    assert outcome(story.results) == outcome(tmp_path / "calm")
    store, parts = Store(story.results), set(story.results.rglob("*.part"))
    for part in parts:  # of processes that were killed while they wrote; garbage once they are old
        os.utime(part, (0, 0))
    assert not store.failed() and parts <= {leftover.path for leftover in leftovers(store)}


def test_a_second_sweep_on_the_folder_is_refused_at_once_and_harms_nothing(story: Story) -> None:
    assert story.second is not None and story.second.returncode == 2
    assert f"Another sweep works in '{story.results}': process " in story.second.stderr
    assert "Traceback" not in story.second.stderr
    require_nothing_lost(story, "second sweep")


def test_the_cell_of_a_killed_worker_runs_again_in_the_same_sweep(story: Story) -> None:
    (log,) = story.results.glob(f"logs/*-{story.victim}.log")
    sweeps = [line.rpartition("[job ")[2] for line in log.read_text().splitlines() if "[job " in line]
    assert len(sweeps) == 2 and len(set(sweeps)) == 1
    assert f"{log.stem} runs again, 2 of 3 times at most: lost: " in story.said["worker killed"]
    assert "Traceback" not in story.said["worker killed"]
    require_nothing_lost(story, "worker killed")


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_stops_a_sweep_cleanly(story: Story, name: str, code: int) -> None:
    assert story.codes[name] == code, story.said[name]
    assert "the same command goes on where it stopped" in story.said[name]
    assert "Traceback" not in story.said[name]
    require_nothing_lost(story, name)


def test_a_driver_that_is_killed_loses_nothing_that_is_finished(story: Story) -> None:
    assert story.codes["driver killed"] == -signal.SIGKILL
    require_nothing_lost(story, "driver killed")


def test_a_folder_that_goes_away_is_waited_for(story: Story) -> None:
    assert "Traceback" not in story.said["folder away"]
    require_nothing_lost(story, "folder away")


def test_a_full_disk_is_waited_for(story: Story) -> None:
    if not story.own_disk:
        pytest.skip("no file system can be mounted here: it takes root")
    assert "No space left" in story.said["disk full"] and "Traceback" not in story.said["disk full"]
    require_nothing_lost(story, "disk full")


def test_sigterm_while_ray_starts_ends_the_sweep_and_what_it_began(tmp_path: Path, gate: Gate) -> None:
    sweep, seen = Sweep(tmp_path / "results", *SWEEP, gate=gate), {}

    def has_begun() -> bool:
        found = below(sweep.process.pid)
        seen.update({process: when for process in found if (when := began(process))})
        return any("gcs_server" in title for title in found.values())

    try:
        sweep.until(has_begun, "Ray's head runs")
        os.kill(sweep.process.pid, signal.SIGTERM)
        while sweep.process.poll() is None:
            has_begun()
            time.sleep(0.02)
        assert sweep.end() == 128 + signal.SIGTERM, sweep.said
    finally:
        sweep.kill()
    assert "Traceback" not in sweep.said
    require_gone(seen)
