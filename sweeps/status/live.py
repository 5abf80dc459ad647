"""Tells the process of the trackers which cells have finished: a sweep does not wait for it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from time import monotonic, sleep

from carft.store.records import Store
from sweeps.search.protocol import Protocol
from sweeps.status.trackers import EVENTS

#: seconds that a sweep waits at its end for what is not shown yet: when it is done, and when it was stopped
WAIT_S, WAIT_STOPPED_S = 60.0, 5.0


class LiveTrackers:
    """The trackers of a sweep, in a process that reads to the end and exits when the sweep is killed.

    The process has a session of its own, so that Ctrl-C does not reach it. warn: gets a sentence when it fails.
    """

    def __init__(self, names: Iterable[str], store: Store, warn: Callable[[str], None]) -> None:
        self.names, self.store, self.warn = list(dict.fromkeys(names)), store, warn
        self.log = store.root / EVENTS / "trackers.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.is_over = not self.names
        self.told = 0
        """Cells that its pipe took."""

    def update(self, protocol: Protocol) -> None:
        """Tell which cells are done, in the order in which they finished, those of earlier sweeps too."""
        self.protocol = protocol
        if self.is_over:
            return
        try:
            self.process = self.process or self._start()
            self._tell(self.process)
        except OSError as error:
            self._end(f"they cannot run: {error}")

    def close(self, stopped: bool) -> None:
        """Wait a while for what is not shown yet. stopped: whether the sweep did not reach its end."""
        until = monotonic() + (WAIT_STOPPED_S if stopped else WAIT_S)
        while self.process is not None and not self.is_over and monotonic() < until:
            if self._tell(self.process) and self.process.stdin is not None:
                self.process.stdin.close()
            sleep(0.1)
        if self.process is not None and not self.is_over:
            self.process.kill()
            self.process.wait()
            self._end("they did not take all cells in time")

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sweeps.status.trackers"]
        command += [str(self.store.root), Path(self.store.address).name, *self.names]
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _tell(self, process: subprocess.Popen[bytes]) -> bool:
        """Write the cells that the pipe takes, unless the process ended; returns whether none is left."""
        if process.poll() is not None:
            self._end("" if process.returncode == 0 else self._last_line() or f"exit code {process.returncode}")
            return True
        stream, done = process.stdin, self.protocol.done
        if stream is not None and not stream.closed:
            with suppress(BlockingIOError, BrokenPipeError):
                for cell in islice(done, self.told, None):
                    os.write(stream.fileno(), f"{cell} {self.protocol.jobs[cell].kind}\n".encode())
                    self.told += 1
        return self.told == len(done)

    def _last_line(self) -> str:
        with suppress(OSError):
            return self.log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
        return ""

    def _end(self, reason: str) -> None:
        """Warn once where something is missing."""
        self.is_over = True
        if reason:
            reason = reason.rstrip(".")
            self.warn(f"Warning: trackers: {reason}. No record is affected; the same command shows what is missing.")
