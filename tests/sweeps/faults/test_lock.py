"""One sweep per results folder: who holds it is named, and whoever died holds it no longer."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from carft.core.errors import UserError
from carft.store.records import Store
from carft.store.sweep_state import Counts, SweepState, write_state
from sweeps.faults import lock as sole
from sweeps.faults.lock import sweep_lock
from tests.support.helpers import ROOT, TASK, run_cli

HOLD = """
import sys, time
from carft.store.records import Store
from sweeps.faults.lock import sweep_lock
with sweep_lock(Store(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(store: Store) -> Store:
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


def test_a_held_folder_is_refused_and_a_dead_holder_holds_nothing(folder: Store) -> None:
    with held_by_another(folder) as process:
        with pytest.raises(UserError, match=rf"process {process.pid} on .*, since .* UTC"), sweep_lock(folder):
            pass
        process.kill()
        process.wait()
        for _ in range(2):  # and it is free again afterwards
            with sweep_lock(folder):
                pass


@pytest.mark.slow
def test_a_single_cell_may_run_beside_a_sweep(folder: Store) -> None:
    with sweep_lock(folder):
        done = run_cli("train", "--task", TASK, "--method", "zeroshot", "--results", folder.root)
    assert done.returncode == 0, done.stderr
    assert len(folder.ids()) == 1


def test_a_sweep_elsewhere_that_writes_no_more_holds_nothing(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed a moment ago. One that goes on is in the tests of object stores."""
    now, listened = time.time(), []
    counts = Counts()
    write_state(folder, SweepState(recipe="small", host="b", pid=7, started=now - 60, updated=now, counts=counts))
    monkeypatch.setattr(sole.time, "sleep", listened.append)
    with sweep_lock(folder):
        pass
    assert listened == [sole.STATE_WAIT_S]


def test_a_file_system_without_locks_is_no_obstacle(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("carft.core.files.fcntl.flock", no_locks)
    with sweep_lock(folder):
        pass
