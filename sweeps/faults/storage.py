"""The results folder of a sweep: its lock, and the wait while its disk is full or its share is not mounted.

sweep.lock      host, process and start of the sweep; the file stays when the lock is released

One sweep at a time holds the lock. The operating system releases it when the process ends.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from uuid import uuid4

from carft.core.errors import UserError, typed
from carft.core.files import try_lock
from carft.store.records import Store
from carft.store.sweep_state import SweepState, read_states

LOCK = "sweep.lock"
#: seconds within which a running sweep writes its state at least once
STATE_WAIT_S = 10.0
#: seconds by which the clocks of two machines may differ at most
MAX_CLOCK_SKEW_S = 900.0
#: seconds to wait for a folder at most
LIMIT_S = 600.0
#: seconds between two probes: the first pause doubles up to the longest
FIRST_S, LONGEST_S = 1.0, 20.0
#: free bytes that a probe requires
ROOM = 16 * 2**20
#: retries of one call in a folder that answers
MAX_RETRIES = 4

Done = TypeVar("Done")


@contextmanager
def sweep_lock(store: Store) -> Iterator[None]:
    """Lock the folder for this sweep; ``UserError`` when another sweep holds it. Single cells need no lock.

    The lock is visible on other machines on NFS and most cluster file systems. Where it is not, and in an object store,
    a sweep on another machine is detected by the state that it writes.
    """
    with (store.root / LOCK).open("a+b", buffering=0) as stream:
        owner = ""
        with suppress(OSError):  # the file system has no locks
            if not try_lock(stream.fileno()):
                owner = "a process that has not written its name yet"
                stream.seek(0)
                owner = stream.read().decode(errors="replace") or owner
        if owner:
            raise _held(store, owner)
        if (other := _elsewhere(store)) is not None:
            raise _held(store, _process(other.host, other.pid, other.started))
        with suppress(OSError):  # the disk is full; the lock does not depend on the content
            stream.truncate(0)
            stream.write(_process(socket.gethostname(), os.getpid(), time.time()).encode())
        yield


def _process(host: str, pid: int, started: float) -> str:
    return f"process {pid} on {host}, since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(started))} UTC"


def _elsewhere(store: Store) -> SweepState | None:
    """A sweep whose state changes within :data:`STATE_WAIT_S`; clocks of two machines may differ."""
    before = {state.name: state.updated for state in _others(store)}
    if not before:
        return None
    time.sleep(STATE_WAIT_S)
    return next((state for state in _others(store) if state.updated != before.get(state.name)), None)


def _others(store: Store) -> list[SweepState]:
    store.refresh("sweeps")
    here, now = socket.gethostname(), time.time()
    others = []
    for state in read_states(store):
        if state.ended is not None or (state.host, state.pid) == (here, os.getpid()):
            continue
        is_alive = state.is_alive() if state.host == here else now - state.updated < MAX_CLOCK_SKEW_S
        if is_alive:
            others.append(state)
    return others


def _held(store: Store, owner: str) -> UserError:
    return UserError(
        f"Another sweep works in '{store.name}': {owner}.",
        f"Wait for it to end ({typed('status', results=store.name)}), stop it, or give another --results.",
    )


class StorageRetry:
    """Retries calls while a folder does not answer. One outage lasts until :meth:`over` is called.

    log: receives one sentence when an outage begins and when it ends. limit: seconds of an outage at most.
    """

    def __init__(self, store: Store, log: Callable[[str], None], limit: float = LIMIT_S) -> None:
        self.store, self.log, self.limit = store, log, limit
        self.since: float | None = None
        self.pause = FIRST_S

    def call(self, act: Callable[[], Done]) -> Done:
        """Return the result of ``act``, which may be called several times; ``UserError`` after a long outage."""
        tries = 0
        while True:
            try:
                return act()
            except (OSError, UserError) as error:
                if isinstance(error, UserError) and not isinstance(error.__cause__, OSError):
                    raise
                why = (error.message if isinstance(error, UserError) else str(error)).rstrip(".")
                tries += 1
                if tries > MAX_RETRIES:
                    raise self._unusable(why) from error
                self.wait(why)

    def wait(self, why: str) -> None:
        """Wait until the folder answers; ``UserError`` when the outage lasts longer than the limit."""
        if self.since is None:
            self.since, self.pause = time.monotonic(), FIRST_S
            self.log(
                f"The results folder '{self.store.name}' does not answer: {why}. Waiting up to {self.limit / 60:g} "
                f"minutes for it; nothing that is finished is lost."
            )
        while True:
            if time.monotonic() - self.since > self.limit:
                raise self._unusable(why)
            time.sleep(self.pause)
            self.pause = min(2 * self.pause, LONGEST_S)
            if self._answers():
                return

    def over(self) -> None:
        """End the outage, after a write succeeded."""
        if self.since is not None:
            self.log(
                f"The results folder answers again after {time.monotonic() - self.since:.0f} s; the sweep goes on."
            )
            self.since = None

    def _answers(self) -> bool:
        """Whether the folder is the sweep's, not an empty mount point, and has room for a cell."""
        probe = self.store.root / f".probe-{uuid4().hex}"
        try:
            if not (self.store.root / LOCK).is_file():
                return False
            try:
                with probe.open("wb") as stream:
                    stream.write(bytes(ROOM))
                    os.fsync(stream.fileno())
            finally:
                probe.unlink(missing_ok=True)
            self.store.require_writable()
        except (OSError, UserError):
            return False
        return True

    def _unusable(self, why: str) -> UserError:
        return UserError(
            f"The results folder '{self.store.name}' cannot be used: {why}.",
            "Finished cells are kept. Make room or bring it back; the same command goes on where it stopped.",
        )
