"""A sweep that starts again in its own process, because the Ray that it had started there died.

Ray cannot be left once its control service is gone: the main thread waits for it in native code. So the process
replaces its program by the same command (``exec``): its id, its terminal and its lock on the results folder stay. What
the sweep has done is on record; what is not, such as which cells were found done, goes through a file.
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

#: how often Ray is started again; what brings it down so often is no accident
MOST = 2
#: names the file in the environment of the program that goes on
VARIABLE = "CARFT_SWEEP_AGAIN"


@dataclass(frozen=True)
class Earlier:
    """What a sweep knows of itself before Ray was started again; of a sweep that begins, only when that was.

    times: how often Ray was started again. name: of the sweep, in the logs of its jobs. began: Unix time. clock: the
    same moment on the monotonic clock. done: cells that it finished, or that ran when Ray died. failed: job key ->
    reason. lock: descriptor of the lock on the results folder, which is still held. forecast: of the whole sweep.
    """

    times: int = 0
    name: str = field(default_factory=lambda: uuid4().hex)
    began: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.monotonic)
    done: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)
    lock: int | None = None
    forecast: Mapping[str, Any] | None = None

    def with_progress(self, protocol: Protocol, lock: int) -> Earlier:
        """What to hand on now."""
        met = {cell.id for job in list(protocol.running.values()) for cell in job.cells()}
        done = (set(protocol.done) | met) - protocol.reused
        failed = dict(protocol.failed)
        return replace(self, times=self.times + 1, done=frozenset(done), failed=failed, lock=lock)


#: starts the sweep again
Again = Callable[[Earlier], NoReturn]


def taken_up() -> Earlier:
    """What the program before this one handed on; a sweep that begins where there was none."""
    place = os.environ.pop(VARIABLE, None)  # workers inherit the environment
    if place is None:
        return Earlier()
    path = Path(place)
    content = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return Earlier(**{**content, "done": frozenset(content["done"])})


def start_again(earlier: Earlier, environment: Mapping[str, str]) -> NoReturn:
    """Replace this program by a new run of the same command. environment: of the first; Ray adds its own to it."""
    descriptor, place = tempfile.mkstemp(prefix="carft-again-", suffix=".json")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({**asdict(earlier), "done": sorted(earlier.done)}, stream)
    for other in _descriptors():
        os.set_inheritable(other, other == earlier.lock)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, VARIABLE: place})


def end_children() -> None:
    """End every process below this one: Ray's own. Workers whose raylet is gone end by themselves within a second."""
    below = psutil.Process().children(recursive=True)
    for process in below:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(below, timeout=10)


def _descriptors() -> list[int]:
    """Open files of this process besides standard input, output and error."""
    found = []
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  (numbers, no paths)
        with suppress(OSError):  # the one of this listing is closed by now
            os.get_inheritable(int(name))
            found.append(int(name))
    return [descriptor for descriptor in found if descriptor > 2]
