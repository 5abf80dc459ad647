"""Tells the process of the trackers which cells have finished: a sweep does not wait for it."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TextIO

from carft.store.records import Store
from sweeps.search.protocol import Protocol
from sweeps.status.trackers import END, EVENTS, FINISHED

#: seconds that a sweep waits at its end for what is not shown yet: when it is done, and when it was stopped
WAIT_S, WAIT_STOPPED_S = 60.0, 5.0


class LiveTrackers:
    """The trackers of a sweep, in a process that reads to the end and exits when the sweep is killed.

    The process has a session of its own, so that Ctrl-C does not reach it. warn: gets a sentence when it fails.
    """

    def __init__(self, names: Iterable[str], store: Store, warn: Callable[[str], None]) -> None:
        self.names, self.store, self.warn = list(dict.fromkeys(names)), store, warn
        self.log = store.root / EVENTS / "trackers.log"
        self.told = 0  # cells
        self._running: tuple[subprocess.Popen[bytes], TextIO] | None = None

    def update(self, protocol: Protocol) -> None:
        """Tell which cells are done, in the order in which they finished, those of earlier sweeps too."""
        if not self.names:
            return
        try:
            process, file = self._running = self._running or self._start()
            for cell in islice(protocol.done, self.told, None):
                file.write(f"{cell} {protocol.jobs[cell].kind}\n")
                self.told += 1
            file.flush()
        except OSError as error:
            return self._end(f"they cannot run: {error}")
        if process.poll() is not None:
            self._end(self._failure(process.returncode))

    def close(self, stopped: bool) -> None:
        """Wait a while for what is not shown yet. stopped: whether the sweep did not reach its end."""
        if self._running is None or not self.names:
            return
        process, file = self._running
        try:
            with file:
                file.write(f"{END}\n")
            self._end(self._failure(process.wait(WAIT_STOPPED_S if stopped else WAIT_S)))
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
            self._end("they did not take all cells in time")

    def _start(self) -> tuple[subprocess.Popen[bytes], TextIO]:
        """The process, and the file of the cells that it reads."""
        self.log.parent.mkdir(exist_ok=True)
        file = (self.store.root / EVENTS / FINISHED).open("w", encoding="utf-8")
        command = [sys.executable, "-m", "sweeps.status.trackers"]
        command += [str(self.store.root), Path(self.store.address).name, *self.names]
        with self.log.open("wb") as out:
            return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True), file

    def _failure(self, code: int) -> str:
        """Why the process ended; empty if it did as it should."""
        return self.log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2] if code else ""

    def _end(self, reason: str) -> None:
        """Warn where something is missing; nothing more is told."""
        self.names = []
        if reason:
            reason = reason.rstrip(".")
            self.warn(f"Warning: trackers: {reason}. No record is affected; the same command shows what is missing.")
