"""Sends what a sweep finishes to trackers while it runs, each in a process of its own: a sweep waits for none."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

from carft.core.errors import typed
from carft.store.records import Store
from sweeps.search.protocol import Protocol
from sweeps.status.trackers import EVENTS

#: seconds that a sweep waits at its end for what is not sent yet: when it is done, and when it was stopped
WAIT_S, WAIT_STOPPED_S = 60.0, 5.0


class LiveTracker:
    """A tracker in a process, which gets ids of cells.

    A thread writes them, since a process that hangs reads no more. The process has a session of its own, so that Ctrl-C
    does not reach it; when the sweep is killed it reads to the end and exits.
    """

    def __init__(self, name: str, store: Store, warn: Callable[[str], None]) -> None:
        self.name, self.store, self.warn = name, store, warn
        self.cells: SimpleQueue[str | None] = SimpleQueue()
        self.warned = False
        folder = store.root / EVENTS
        folder.mkdir(exist_ok=True)
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "sweeps.status.trackers", name, str(store.root), Path(store.address).name]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, start_new_session=True
            )
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        with suppress(OSError), stdin:  # the process may have ended
            for cell in iter(self.cells.get, None):
                stdin.write(f"{cell}\n")
                stdin.flush()

    def check(self) -> None:
        """Warn once when the process failed."""
        if not self.process.poll():
            return
        last = ""
        with suppress(OSError):
            last = self.log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
        self.give_up(last or f"{self.name} ended with exit code {self.process.returncode}")

    def give_up(self, reason: str) -> None:
        """Warn once that cells are missing, and say how they are sent later."""
        if not self.warned:
            self.warned = True
            later = typed("results", "events", "--log", self.name, results=self.store.name)
            self.warn(f"Warning: {reason.rstrip('.')}. No record is affected. Send what is missing: {later}")

    def close(self, until: float) -> None:
        """Wait for the process until a time of the monotonic clock, then end it."""
        self.cells.put(None)
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
            self.check()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.give_up(f"{self.name} did not take all cells in time")


class LiveTrackers:
    """The trackers of a sweep. warn: gets a sentence when one fails."""

    def __init__(self, names: Iterable[str], store: Store, warn: Callable[[str], None]) -> None:
        self.names, self.store, self.warn = tuple(dict.fromkeys(names)), store, warn
        self.trackers: list[LiveTracker] = []
        self.started = False
        self.told = 0

    def update(self, protocol: Protocol) -> None:
        """Send the cells that are done, also those of earlier sweeps. Starts the trackers the first time."""
        if not self.names:
            return
        if not self.started:
            self.started = True
            self._start()
        for cell in islice(protocol.done, self.told, None):  # in the order in which they finished
            for tracker in self.trackers:
                tracker.cells.put(cell)
        self.told = len(protocol.done)
        for tracker in self.trackers:
            tracker.check()

    def _start(self) -> None:
        try:
            for name in self.names:
                self.trackers.append(LiveTracker(name, self.store, self.warn))
        except OSError as error:
            self.warn(f"Warning: a tracker cannot be started: {error}.")

    def close(self, stopped: bool) -> None:
        """Wait a while for what is not sent yet. stopped: whether the sweep did not reach its end."""
        until = time.monotonic() + (WAIT_STOPPED_S if stopped else WAIT_S)
        for tracker in self.trackers:
            tracker.close(until)
