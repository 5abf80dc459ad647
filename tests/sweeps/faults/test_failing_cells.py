"""Cells that fail in a real sweep, each in its own way: named, with their log, and the sweep goes on."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.data.checking import find_unreadable
from carft.data.folder.named import tasks_in
from carft.data.folder.reading import own_files, read
from carft.store.failures import Failure, failures
from carft.store.records import Store
from carft.store.study_file import StudyFile
from carft.store.sweep_state import Counts, read_states
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.carft_cli.test_init import printed
from tests.support.breaking import environment as faulty
from tests.support.folder import draw_pets, write_tasks
from tests.support.helpers import environment, run_cli

pytestmark = [pytest.mark.slow, pytest.mark.full]

DIVERGED, CRASHED, HUNG, MEMORY, KILLED = (f"icons-3/mix-{n}" for n in (7, 9, 6, 4, 3))
PETS = "my/pets"
#: task -> what happens to each of its two trials; "" for nothing
FAULTS = {
    DIVERGED: ("diverge", ""),
    CRASHED: ("crash", ""),
    HUNG: ("hang", ""),
    MEMORY: ("memory_for_parts", "no_memory"),
    KILLED: ("kill", ""),
}


class Sweep:
    """A results folder, a recipe of six tasks with two trials each, and the trials' cells by task."""

    def __init__(self, root: Path, pets: Path) -> None:
        self.root, self.pets = root, pets
        self.asked, self.file = [*FAULTS, PETS], write_tasks(pets.parent, {"name": PETS, "path": pets.name})
        recipe: Recipe = load_recipe("miniature", catalog=BUILT_IN.with_tasks(tasks_in(self.file)))
        recipe = recipe.smoked().model_copy(update={"selection": "per-task"})
        self.recipe = recipe.changed(self.asked, ["ft"], 2, 1, model="icons-resnet", pretrained="icons-3")
        self.tasks = self.recipe.tasks
        protocol = Protocol(self.recipe, Store(root))
        self.trials = {s.task: s.trial_cells for s in protocol.studies}
        plans = ((self.trials[task], plan) for task, plan in FAULTS.items())
        self.faults = {c.id: fault for cells, plan in plans for c, fault in zip(cells, plan, strict=True) if fault}

    def run(self, faults: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
        size = ("--smoke", "--trials", 2, "--seeds", 1, "--selection", "per-task", "--methods", "ft")
        tasks = ("--tasks", ",".join(self.asked), "--tasks-file", self.file)
        model = ("--model", "icons-resnet", "--pretrained", "icons-3", "--results", self.root, "--hang-after", 600)
        env = {**environment(), **(faulty(faults) if faults else {})}
        return run_cli("sweep", "miniature", *size, *tasks, *model, *options, env=env)

    def failures(self) -> dict[str, Failure]:
        return {failure.cell: failure for failure in failures(Store(self.root))}

    def studies(self) -> dict[str, StudyFile]:
        return {study.task: study for study in Store(self.root).studies()}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, subprocess.CompletedProcess[str], bytes]:
    """A sweep in which everything breaks that can, its outcome, and the bytes of the image that was broken."""
    root = tmp_path_factory.mktemp("failing")
    draw_pets(root)
    for path in (root / "pets").rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert not find_unreadable(own_files(root / "pets"), Path(), print)
    victim = read(root / "pets").part("photo", "train").paths[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:200] + bytes(len(whole) - 200))
    os.utime(victim, (1e9, 1e9))  # as a disk that loses bytes: the index does not know of it
    sweep = Sweep(root / "results", root / "pets")
    return sweep, sweep.run(sweep.faults), whole


def test_every_failure_is_named_with_its_kind_and_the_sweep_goes_on(swept: Any) -> None:
    sweep, done, _ = swept
    assert done.returncode == 1, done.stderr
    found = {sweep_task(sweep, cell): (f.kind, f.attempt, f.job) for cell, f in sweep.failures().items()}
    assert found == {
        (DIVERGED, 0): ("diverged", 1, "search"),
        (CRASHED, 0): ("crash", 1, "search"),
        (HUNG, 0): ("hang", 1, "search"),
        (MEMORY, 1): ("out of memory", 1, "search"),
        (KILLED, 0): ("lost", 1, "search"),
        (sweep.tasks[-1], 0): ("unreadable image", 1, "search"),
        (sweep.tasks[-1], 1): ("unreadable image", 1, "search"),
    }
    for failure in sweep.failures().values():
        assert failure.reason in done.stdout
    commands = [words for before, words in printed(done.stdout)]
    assert "--retry-failed" in {words[-1] for words in commands}
    assert commands[-1][:3] == ["report", "--results", str(sweep.root)]


def sweep_task(sweep: Sweep, cell: str) -> tuple[str, int]:
    """Task and number of a trial's cell."""
    ids = {task: [trial.id for trial in trials] for task, trials in sweep.trials.items()}
    return next((task, trials.index(cell)) for task, trials in ids.items() if cell in trials)


def test_a_failure_has_the_end_of_its_log(swept: Any) -> None:
    sweep, _, _ = swept
    logs = {f.kind: f.log for f in sweep.failures().values()}
    assert "about to crash" in logs["crash"] and "Segmentation fault" in logs["crash"]
    assert "string_at" in logs["crash"]
    assert "about to hang, watched for 600 s" in logs["hang"] and "in hang" in logs["hang"]
    assert "epoch 1/1" not in logs["diverged"] and "Diverged" in logs["diverged"]


def test_memory_that_runs_out_is_met_with_smaller_parts_of_the_same_batch(swept: Any) -> None:
    sweep, _, _ = swept
    store = Store(sweep.root)
    saved, lost = sweep.trials[MEMORY]
    record = store.read(saved.id)
    execution = record.provenance["execution"]
    assert (execution["accumulation"], execution["grad_checkpointing"]) == (2, True)
    assert record.cell.training.batch_size == saved.training.batch_size
    assert "once more with each batch in 4 parts" in sweep.failures()[lost.id].log


def test_half_of_the_trials_make_a_winner_and_none_make_none(swept: Any) -> None:
    sweep, done, _ = swept
    studies = sweep.studies()
    for task in FAULTS:
        finished = [t.cell for t in studies[task].trials if t.status == "done"]
        assert [studies[task].winner] == finished and len(studies[task].confirm) == 1
    pets = studies[sweep.tasks[-1]]
    assert pets.winner is None and pets.confirm == []
    assert "first 2 trials failed with the same error" in pets.too_few and "cannot be read" not in pets.too_few
    assert f"no winner: ft on {PETS}: {pets.too_few}: The image" in done.stdout


def test_the_state_of_the_sweep_stays_beside_the_records(swept: Any) -> None:
    sweep, _, _ = swept
    state = read_states(Store(sweep.root))[0]
    assert state.outcome == "done" and not state.is_alive()
    assert (state.counts.total, state.counts.done, state.counts.failed) == (18, 10, 7)
    assert state.tasks[sweep.tasks[-1]] == Counts(total=3, failed=2)
    assert 0 < state.busy["CPU"] <= 1 and state.slots >= 1


def test_the_report_lists_what_failed(swept: Any, tmp_path: Path) -> None:
    sweep, _, _ = swept
    done = run_cli("report", "--results", sweep.root, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "tables" / "problems.csv").read_text()
    for failure in sweep.failures().values():
        assert failure.cell in listed and f"({failure.kind}, attempt 1)" in listed
    assert "first 2 trials failed" in listed and "! broken data: my/pets: The image" in done.stdout


def test_what_failed_runs_again_when_asked(swept: Any) -> None:
    """What was lost would run again unasked (tests/sweeps/search/test_protocol.py)."""
    sweep, _, whole = swept
    victim = read(sweep.pets).part("photo", "train").paths[0]
    victim.write_bytes(whole)
    again = sweep.run({sweep.trials[DIVERGED][0].id: "diverge"}, "--retry-failed", "--json")
    assert again.returncode == 1, again.stderr
    assert json.loads(again.stdout)["cells_failed"] == 1
    (failure,) = sweep.failures().values()
    assert (failure.kind, failure.attempt) == ("diverged", 2)
    assert sweep.trials[KILLED][0].id in Store(sweep.root).ids()
    assert sweep.studies()[sweep.tasks[-1]].winner is not None
