"""Watching a job in its worker: a log of its own, crashes of native code on record, and an end to a hang.

The standard library's faulthandler does the hard part: it writes where every thread stands when native code crashes,
and, from a thread that needs no interpreter, when nothing moved for too long; it then ends the process.
"""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carft.core.heartbeat import on_heartbeat
from carft.store.failures import tail
from carft.store.mirror import local_folder
from carft.store.object_store import is_url

#: seconds without a sign of life after which a cell is ended, unless asked otherwise
HANG_AFTER = 1800.0
#: how much of a log is searched for the words of an end, in characters
SEARCHED = 200_000
#: what faulthandler writes, at the beginning of a line
_HUNG = re.compile(r"^Timeout \(([^)]*)\)!", re.MULTILINE)
_CRASHED = re.compile(r"^Fatal Python error: (.+)", re.MULTILINE)


def log_path(results: str | Path, key: str) -> Path:
    """Where the log of a job is; key: its kind and its cell's id."""
    return local_folder(results) / "logs" / f"{key}.log"


def open_job_log(message: Mapping[str, Any]) -> None:
    """Open the log of a job: of all its attempts in one sweep; another sweep's is overwritten."""
    path = log_path(message["results"], message["key"])
    path.parent.mkdir(parents=is_url(message["results"]), exist_ok=True)  # never a folder that went away
    mark = f"[job {message['start']}]"
    again = path.is_file() and mark in path.read_text(encoding="utf-8", errors="replace")
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with path.open("a" if again else "w", encoding="utf-8") as stream:
        stream.write(f"{when} {message['key']}, process {os.getpid()} {mark}\n")


def how_it_ended(path: Path) -> tuple[str, str]:
    """(kind, reason) of a process that ended without a word of its own, from the last start in a job's log."""
    text = tail(path, SEARCHED)
    text = text[text.rfind("[job ") :]
    if hung := _HUNG.search(text):
        return "hang", f"nothing moved for {hung[1]} (hours:minutes:seconds)"
    if crashed := _CRASHED.search(text):
        return "crash", f"native code brought its process down: {crashed[1]}"
    return "lost", "its worker process died"


@contextmanager
def watchdog(path: Path, hang_after: float) -> Iterator[None]:
    """Whatever this process prints goes to the log, so do crashes; a hang ends the process. For worker processes only.

    hang_after: seconds between two signs of life; 0 waits for ever.
    """
    with path.open("ab", buffering=0) as log, _printing_to(log.fileno()):
        faulthandler.enable(file=log, all_threads=False)
        try:
            with on_heartbeat(_Watchdog(log, hang_after)):
                yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()


class _Watchdog:
    """Ends the process when it is not called in time. It is wound up at most ten times in its period."""

    def __init__(self, log: Any, period: float) -> None:
        self.log, self.period = log, period
        self.last = 0.0
        self()

    def __call__(self) -> None:
        now = time.monotonic()
        if self.period and now - self.last > self.period / 10:
            self.last = now
            faulthandler.dump_traceback_later(self.period, exit=True, file=self.log)


@contextmanager
def _printing_to(descriptor: int) -> Iterator[None]:
    """Standard output and error of this process, native code's too, go to a file."""
    own = {number: os.dup(number) for number in (1, 2)}
    for number in own:
        os.dup2(descriptor, number)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, kept in own.items():
            os.dup2(kept, number)
            os.close(kept)
