"""Lock of a results folder: one sweep at a time. The operating system releases it when the process ends.

sweep.lock      host, process and start of the sweep; the file stays when the lock is released
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.core.files import try_lock
from carft.store.records import Store
from carft.store.sweep_state import SweepState, read_states

NAME = "sweep.lock"
#: seconds within which a running sweep writes its state at least once
STATE_WAIT_S = 10.0
#: seconds by which the clocks of two machines may differ at most
MAX_CLOCK_SKEW_S = 900.0


@contextmanager
def sweep_lock(store: Store) -> Iterator[None]:
    """Lock the folder for this sweep; ``UserError`` when another sweep holds it. Single cells need no lock.

    The lock is visible on other machines on NFS and most cluster file systems. Where it is not, and in an object store,
    a sweep on another machine is detected by the state that it writes.
    """
    with (store.root / NAME).open("a+b") as stream:
        with contextlib.suppress(OSError):  # the file system has no locks
            if try_lock(stream.fileno()) == "busy":
                raise _held(store, _owner(stream))
        if (other := _elsewhere(store)) is not None:
            raise _held(store, f"process {other.pid} on {other.host}, {_since(other.started)}")
        _write_owner(stream)
        yield


def _write_owner(stream: BinaryIO) -> None:
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
    with contextlib.suppress(OSError):  # the disk is full; the lock does not depend on the content
        stream.truncate(0)
        stream.write(json.dumps(owner).encode())
        stream.flush()


def _owner(stream: BinaryIO) -> str:
    try:
        stream.seek(0)
        owner = json.loads(stream.read())
        return f"process {int(owner['pid'])} on {owner['host']}, {_since(float(owner['started']))}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "a process that has not written its name yet"


def _since(started: float) -> str:
    return f"since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(started))} UTC"


def _elsewhere(store: Store) -> SweepState | None:
    """A sweep whose state changes within :data:`STATE_WAIT_S`; clocks of two machines may differ."""
    before = {state.name: state.updated for state in _others(store)}
    if not before:
        return None
    time.sleep(STATE_WAIT_S)
    return next((state for state in _others(store) if state.updated != before.get(state.name)), None)


def _others(store: Store) -> list[SweepState]:
    store.refresh("sweeps")
    try:
        states = read_states(store)
    except UserError:  # a corrupt state is ignored, since no result depends on it
        return []
    here, now = socket.gethostname(), time.time()
    others = [s for s in states if s.ended is None and (s.host, s.pid) != (here, os.getpid())]
    return [s for s in others if (s.is_alive() if s.host == here else now - s.updated < MAX_CLOCK_SKEW_S)]


def _held(store: Store, owner: str) -> UserError:
    return UserError(
        f"Another sweep works in '{store.name}': {owner}.",
        f"Wait for it to end ({typed('status', results=store.name)}), stop it, or give another --results.",
    )
