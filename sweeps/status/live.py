"""Tells the process of each tracker which cells have finished: a sweep waits for none, and none for another."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from carft.store.records import Store
from sweeps.search.protocol import Protocol
from sweeps.status.trackers import EVENTS

#: seconds that a sweep waits at its end for what is not shown yet: when it is done, and when it was stopped
WAIT_S, WAIT_STOPPED_S = 60.0, 5.0


class LiveTrackers:
    """The trackers of a sweep, each in a process that reads to the end and exits when the sweep is killed.

    The processes have sessions of their own, so that Ctrl-C does not reach them. warn: gets a sentence when one fails.
    """

    def __init__(self, names: Iterable[str], store: Store, warn: Callable[[str], None]) -> None:
        self.store, self.warn = store, warn
        self.waiting = list(dict.fromkeys(names))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.told = Counter[str]()
        """Tracker -> cells that its pipe took."""

    def update(self, protocol: Protocol) -> None:
        """Tell which cells are done, in the order in which they finished, those of earlier sweeps too."""
        self.protocol = protocol
        while self.waiting:
            self._start(self.waiting.pop())
        for name in [*self.running]:
            self._tell(name)
            if self.running[name].poll() is not None:
                self._end(name)

    def close(self, stopped: bool) -> None:
        """Wait a while for what is not shown yet. stopped: whether the sweep did not reach its end."""
        until = time.monotonic() + (WAIT_STOPPED_S if stopped else WAIT_S)
        while self.running and time.monotonic() < until:
            for name, process in [*self.running.items()]:
                if self._tell(name) and process.stdin is not None:
                    process.stdin.close()
                if process.poll() is not None:
                    self._end(name)
            time.sleep(0.1)
        for name, process in [*self.running.items()]:
            process.kill()
            process.wait()
            self._end(name, "it did not take all cells in time")

    def _start(self, name: str) -> None:
        log = self._log(name)
        command = [sys.executable, "-m", "sweeps.status.trackers"]
        command += [str(self.store.root), Path(self.store.address).name, name]
        try:
            log.parent.mkdir(exist_ok=True)
            with log.open("wb") as out:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True
                )
        except OSError as error:
            self._warn(name, f"it cannot run: {error}")
            return
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self.running[name] = process

    def _tell(self, name: str) -> bool:
        """Write the cells that the pipe takes; returns whether none is left."""
        stream, done = self.running[name].stdin, self.protocol.done
        assert stream is not None
        with suppress(BlockingIOError, BrokenPipeError):
            for cell in islice(done, self.told[name], None):
                os.write(stream.fileno(), f"{cell} {self.protocol.jobs[cell].kind}\n".encode())
                self.told[name] += 1
        return self.told[name] == len(done)

    def _end(self, name: str, reason: str = "") -> None:
        """Warn once where something is missing."""
        code = self.running.pop(name).poll()
        if code:
            with suppress(OSError):
                text = self._log(name).read_text(encoding="utf-8", errors="replace")
                reason = reason or text.rstrip().rpartition("\n")[2]
            self._warn(name, reason or f"it ended with exit code {code}")

    def _warn(self, name: str, reason: str) -> None:
        reason = reason.rstrip(".")
        self.warn(f"Warning: {name}: {reason}. No record is affected; the same command shows what is missing.")

    def _log(self, name: str) -> Path:
        return self.store.root / EVENTS / f"{name}.log"
