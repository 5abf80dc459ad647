"""Tells the process of the trackers which cells have finished: a sweep waits for none of them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from carft.store.records import Store
from sweeps.search.protocol import Protocol
from sweeps.status.trackers import EVENTS

#: seconds that a sweep waits at its end for what is not shown yet: when it is done, and when it was stopped
WAIT_S, WAIT_STOPPED_S = 60.0, 5.0


class LiveTrackers:
    """The trackers of a sweep, in a process that reads to the end and exits when the sweep is killed.

    It has a session of its own, so that Ctrl-C does not reach it. warn: gets a sentence when one fails.
    """

    def __init__(self, names: Iterable[str], store: Store, warn: Callable[[str], None]) -> None:
        self.names, self.store, self.warn = tuple(dict.fromkeys(names)), store, warn
        self.log = store.root / EVENTS / "trackers.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.done: Mapping[str, object] = {}
        self.told = 0
        self.warned = False

    def update(self, protocol: Protocol) -> None:
        """Tell which cells are done, in the order in which they finished, those of earlier sweeps too."""
        if not self.names or self.warned:
            return
        self.done = protocol.done
        try:
            if self.process is None:
                self.process = self._started()
            self._tell(self.process)
            if self.process.poll():
                self._give_up()
        except OSError as error:
            self._give_up(f"Trackers cannot run: {error}")

    def _started(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(exist_ok=True)
        folder, sweep = str(self.store.root), Path(self.store.address).name
        command = [sys.executable, "-m", "sweeps.status.trackers", folder, sweep, *self.names]
        with self.log.open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _tell(self, process: subprocess.Popen[bytes]) -> None:
        """Write the ids that the pipe takes; the others go when the process has read some."""
        assert process.stdin is not None
        with suppress(BlockingIOError, BrokenPipeError):
            for cell in islice(self.done, self.told, None):
                os.write(process.stdin.fileno(), f"{cell}\n".encode())
                self.told += 1

    def _give_up(self, reason: str = "") -> None:
        """Warn once that something is missing."""
        if not reason:
            with suppress(OSError):
                reason = self.log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
        if not reason and self.process is not None:
            reason = f"the trackers ended with exit code {self.process.poll()}"
        self.warned = True
        self.warn(f"Warning: {reason.rstrip('.')}. No record is affected; the same command shows what is missing.")

    def close(self, stopped: bool) -> None:
        """Wait a while for what is not shown yet. stopped: whether the sweep did not reach its end."""
        if self.process is None or self.warned:
            return
        until = time.monotonic() + (WAIT_STOPPED_S if stopped else WAIT_S)
        while self.told < len(self.done) and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
            self._tell(self.process)
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            if self.process.wait(max(0.0, until - time.monotonic())):
                self._give_up()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self._give_up("The trackers did not take all cells in time")
