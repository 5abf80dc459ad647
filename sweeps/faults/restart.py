"""Restart of a sweep in its own process, after the Ray that it started died.

Calls into Ray do not return once its control service is dead: the main thread waits in native code. The process
therefore replaces its program by the same command (``exec``). Its id, its terminal and its lock on the results folder
stay. Finished cells are on record; the rest of the sweep's state goes through a file.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import psutil

from sweeps.search.protocol import Protocol

#: restarts of one sweep at most
MAX_RESTARTS = 2
#: environment variable that names the file with the state
VARIABLE = "CARFT_SWEEP_RESTART"


@dataclass(frozen=True)
class RestartState:
    """State of a sweep that a restart keeps. The defaults are those of a new sweep."""

    restarts: int = 0
    """Restarts so far."""
    name: str = field(default_factory=lambda: uuid4().hex)
    """Name of the sweep in the logs of its jobs."""
    started: float = field(default_factory=time.time)
    """Unix time of the first start, in seconds."""
    clock: float = field(default_factory=time.monotonic)
    """The same moment on the monotonic clock, in seconds."""
    done: frozenset[str] = frozenset()
    """Ids of cells that the sweep finished, or that ran when Ray died."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Job key -> reason."""
    aside: Mapping[str, str] = field(default_factory=dict)
    """GPU that is set aside -> reason."""
    lock: int | None = None
    """File descriptor of the lock on the results folder."""
    forecast: Mapping[str, Any] | None = None
    """Fields of the forecast of the whole sweep."""

    def with_progress(self, protocol: Protocol, lock: int, aside: Mapping[str, str]) -> RestartState:
        """The state for one more restart, now."""
        running = {cell.id for job in list(protocol.running.values()) for cell in job.cells()}
        done = (set(protocol.done) | running) - protocol.reused
        state = replace(self, restarts=self.restarts + 1, done=frozenset(done), lock=lock)
        return replace(state, failed=dict(protocol.failed), aside=dict(aside))


#: restarts the sweep
Restart = Callable[[RestartState], NoReturn]


def load_restart_state() -> RestartState:
    """Read and remove the state that the program before this one left; that of a new sweep where there was none."""
    name = os.environ.pop(VARIABLE, None)  # otherwise workers inherit it
    if name is None:
        return RestartState()
    path = Path(name)
    content = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return RestartState(**{**content, "done": frozenset(content["done"])})


def restart_program(state: RestartState, environment: Mapping[str, str]) -> NoReturn:
    """Replace this program by a new run of the same command.

    environment: that of the first run; Ray adds variables of its own.
    """
    descriptor, path = tempfile.mkstemp(prefix="carft-restart-", suffix=".json")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({**asdict(state), "done": sorted(state.done)}, stream)
    for number in map(int, os.listdir("/dev/fd")):  # noqa: PTH208  (numbers, no paths)
        if number > 2:
            with suppress(OSError):  # the descriptor of this listing is closed by now
                os.set_inheritable(number, number == state.lock)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, VARIABLE: path})


def kill_child_processes() -> None:
    """Kill all descendants of this process, which are Ray's. Workers end within a second after their raylet."""
    children = psutil.Process().children(recursive=True)
    for process in children:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(children, timeout=10)
