"""What a sweep does when its folder goes away, and how often it tries a cell that ends badly. No Ray runs here."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.core.errors import UserError
from carft.store.failures import failures, read_failure
from carft.store.records import Store
from carft.store.sweep_state import Counts, SweepState, write_state
from carft.training.execution import Execution
from sweeps.faults import storage
from sweeps.faults.policy import policy_of
from sweeps.faults.process import StopSignal
from sweeps.faults.storage import LOCK, StorageRetry, sweep_lock
from sweeps.plan.resources import Resources
from sweeps.ray_backend.gpus import GpuHealth
from sweeps.ray_backend.jobs import payload_of, run_payload
from sweeps.ray_backend.searcher import ProtocolSearcher
from sweeps.search.protocol import Protocol
from tests.support.helpers import ROOT, TASK, run_cli
from tests.sweeps.search.test_protocol import Crew, small


class Folder:
    """A results folder that can go away, and what was said of it."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root, sentinel=LOCK)
        self.store.require_writable()
        (root / LOCK).touch()
        self.away = root.with_name("away")
        self.said: list[str] = []

    def goes(self) -> None:
        self.store.root.rename(self.away)
        self.store.root.mkdir()  # the empty place where it was mounted

    def comes_back(self) -> None:
        self.store.root.rmdir()
        self.away.rename(self.store.root)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(storage, "FIRST_S", 0.01)
    return Folder(tmp_path / "results")


def test_a_folder_that_comes_back_was_waited_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = StorageRetry(folder.store, folder.said.append)
    folder.goes()
    tried: list[int] = []

    def act() -> str:
        tried.append(1)
        return (folder.store.root / LOCK).read_text()

    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 5:
            folder.comes_back()

    monkeypatch.setattr(storage.time, "sleep", sleep)
    assert waiting.call(act) == ""
    waiting.over()
    assert len(tried) == 2 and looks == sorted(looks) and len(looks) == 5
    assert len(folder.said) == 2
    assert "does not answer" in folder.said[0] and "answers again" in folder.said[1]


def test_what_fails_in_a_folder_that_answers_is_not_tried_for_ever(folder: Folder) -> None:
    tried: list[int] = []

    def act() -> None:
        tried.append(1)
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(UserError, match="Permission denied"):
        StorageRetry(folder.store, folder.said.append).call(act)
    assert len(tried) == storage.MAX_RETRIES + 1


def test_an_empty_place_is_not_filled(folder: Folder) -> None:
    job = Protocol(small(), folder.store).next_job()
    assert job is not None
    folder.goes()
    result = run_payload(payload_of(job, str(folder.store.root), Execution(), start="a sweep", catalog=BUILT_IN))
    assert result["kind"] == "storage"
    assert not list(folder.store.root.rglob("*.json"))


class Sweep:
    """A searcher whose trials a test starts and ends."""

    def __init__(self, folder: Folder, limit: float = storage.LIMIT_S) -> None:
        self.protocol, self.said = Protocol(small(), folder.store), folder.said
        waiting = StorageRetry(folder.store, folder.said.append, limit)
        self.searcher = ProtocolSearcher(self.protocol, Resources(), waiting, lambda: None, GpuHealth(), StopSignal())
        self.searcher.slots = lambda: 1  # type: ignore[method-assign]
        self.number = 0

    def start(self) -> str:
        self.number += 1
        return self.searcher.suggest(str(self.number))["job"].job.key

    def end(self, result: dict[str, Any] | None) -> None:
        self.searcher.on_trial_complete(str(self.number), result, error=result is None)


@pytest.mark.parametrize("kind", ["storage", "hang"])
def test_how_often_a_cell_is_tried_depends_on_how_it_ends(folder: Folder, kind: str) -> None:
    sweep = Sweep(folder)
    keys = []
    for _ in range(policy_of(kind).attempts):
        keys.append(sweep.start())
        assert not sweep.protocol.failed
        sweep.end({"failure": "why", "kind": kind})
    assert len(set(keys)) == 1 and sweep.protocol.failed == {keys[0]: "why"}
    assert sweep.start() != keys[0]


def test_a_worker_that_dies_without_a_word_is_lost_and_its_cell_tried_again(folder: Folder) -> None:
    sweep = Sweep(folder)
    first = sweep.start()
    sweep.end(None)
    assert sweep.start() == first and not failures(folder.store)
    Crew(folder.store).write(sweep.searcher.jobs["2"])
    sweep.end({"failure": ""})
    assert not sweep.protocol.failed and len(sweep.protocol.done) == 1
    second = sweep.start()
    for _ in range(policy_of("lost").attempts - 1):
        sweep.end(None)
        assert sweep.start() == second
    sweep.end(None)
    failure = read_failure(folder.store, second.partition("-")[2])
    assert failure is not None and failure.kind == "lost"


def test_a_folder_that_stays_away_ends_the_sweep_in_a_sentence(folder: Folder) -> None:
    sweep = Sweep(folder, limit=0.5)
    sweep.start()
    shutil.rmtree(folder.store.root)
    sweep.end({"failure": ""})
    with pytest.raises(UserError, match="cannot be used") as raised:
        sweep.start()
    assert "the same command goes on" in raised.value.hint


HOLD = """
import sys, time
from carft.store.records import Store
from sweeps.faults.storage import sweep_lock
with sweep_lock(Store(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def swept(store: Store) -> Store:
    store.require_writable()
    return store


@contextmanager
def held_by_another(store: Store) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_held_folder_is_refused_and_a_dead_holder_holds_nothing(swept: Store) -> None:
    with held_by_another(swept) as process:
        with pytest.raises(UserError, match=rf"process {process.pid} on .*, since .* UTC"), sweep_lock(swept):
            pass
        process.kill()
        process.wait()
        for _ in range(2):  # and it is free again afterwards
            with sweep_lock(swept):
                pass


@pytest.mark.slow
def test_a_single_cell_may_run_beside_a_sweep(swept: Store) -> None:
    with sweep_lock(swept):
        done = run_cli("train", "--task", TASK, "--method", "zeroshot", "--results", swept.root)
    assert done.returncode == 0, done.stderr
    assert len(swept.ids()) == 1


def test_a_sweep_elsewhere_that_writes_no_more_holds_nothing(swept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed a moment ago. One that goes on is in the tests of object stores."""
    now, listened = time.time(), []
    counts = Counts()
    write_state(swept, SweepState(recipe="small", host="b", pid=7, started=now - 60, updated=now, counts=counts))
    monkeypatch.setattr(storage.time, "sleep", listened.append)
    with sweep_lock(swept):
        pass
    assert listened == [storage.STATE_WAIT_S]


def test_a_file_system_without_locks_is_no_obstacle(swept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("carft.core.files.fcntl.flock", no_locks)
    with sweep_lock(swept):
        pass
