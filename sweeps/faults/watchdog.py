"""Watchdog of a job in its worker process: it writes a log, records crashes of native code, and ends a hang.

It uses the standard library's faulthandler, which writes the stack of every thread when native code crashes or when a
timeout expires, from a thread that needs no interpreter, and then ends the process.
"""

import faulthandler
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from carft.core.failure_kinds import FailureKind, names_gpu_fault
from carft.core.heartbeat import on_heartbeat
from carft.store.failures import tail
from carft.store.mirror import is_url, local_folder
from sweeps.faults.process import printing_to

#: characters at the end of a log that are searched for a crash or a hang
SEARCHED = 200_000
#: the text that marks the first line of an attempt
MARK = "[job "
#: the line of :func:`begin_job_log`
_GPU = re.compile(r"^GPU of the job: (.+)$", re.MULTILINE)
#: lines of :func:`end_process`, then of faulthandler: (line, kind of failure, reason)
_ENDS = (
    (r"^The process ends, since its GPU failed: (.+)$", FailureKind.DEVICE, "{}"),
    (
        r"^The process ends, since its CUDA context is unusable: (.+)$",
        FailureKind.LOST,
        "an earlier job left the CUDA context of its process unusable: {}",
    ),
    (r"^Timeout \(([^)]*)\)!", FailureKind.HANG, "no heartbeat for {} (hours:minutes:seconds)"),
    (r"^Fatal Python error: (.+)", FailureKind.CRASH, "native code brought its process down: {}"),
)


def log_path(results: str | Path, key: str) -> Path:
    """Path of the log of a job. key: its kind and its cell's id."""
    return local_folder(results) / "logs" / f"{key}.log"


def begin_job_log(results: str, key: str, sweep: str, gpu: str = "") -> None:
    """Write the first line of a job to its log.

    A log holds all attempts of one sweep; that of another sweep is overwritten. sweep: its name. gpu: the name of the
    GPU of the job; empty on a CPU, and for a job of several workers.
    """
    path = log_path(results, key)
    path.parent.mkdir(parents=is_url(results), exist_ok=True)  # never a folder that was unmounted
    mark = f"[job {sweep}]"
    same = path.is_file() and mark in path.read_text(encoding="utf-8", errors="replace")
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with path.open("a" if same else "w", encoding="utf-8") as stream:
        stream.write(f"{when} {key}, process {os.getpid()} {mark}\n")
        if gpu:
            stream.write(f"GPU of the job: {gpu}\n")


def end_process(path: Path, reason: str, by_job: bool) -> NoReturn:
    """End this process, so that its CUDA context ends too, after a line in the log that says why.

    by_job: whether the job failed on the GPU; otherwise an earlier job of this process left the context unusable, and
    this job did not begin.
    """
    why = "its GPU failed" if by_job else "its CUDA context is unusable"
    with suppress(OSError), path.open("a", encoding="utf-8") as stream:
        stream.write(f"The process ends, since {why}: {' '.join(reason.split())}\n")
    os._exit(1)


def gpu_of(path: Path) -> str:
    """The GPU of the last attempt in a log; empty where it names none."""
    text = _last_attempt(path)
    if text and not text.startswith(MARK):  # it printed more than is searched
        whole = path.read_text(encoding="utf-8", errors="replace")
        text = whole[max(0, whole.rfind(MARK)) :]
    match = _GPU.search(text)
    return match[1] if match else ""


def how_it_ended(path: Path) -> tuple[FailureKind, str]:
    """(kind, reason) of a process that ended without an exception, from the last attempt in the log."""
    text = _last_attempt(path)
    for line, kind, reason in _ENDS:
        if match := re.search(line, text, re.MULTILINE):
            if kind == FailureKind.CRASH and names_gpu_fault(text):
                return FailureKind.DEVICE, f"native code brought its process down after an error of CUDA: {match[1]}"
            return kind, reason.format(match[1])
    return FailureKind.LOST, "its worker process died"


def _last_attempt(path: Path) -> str:
    text = tail(path, SEARCHED)
    return text[max(0, text.rfind(MARK)) :]


@contextmanager
def watchdog(path: Path, hang_after: float) -> Iterator[None]:
    """Redirect the output of this worker process to the log, record crashes in it, and end the process when it hangs.

    hang_after: seconds between two heartbeats at most; 0 disables the limit.
    """
    with path.open("ab", buffering=0) as log, printing_to(log.fileno()):
        faulthandler.enable(file=log, all_threads=False)
        try:
            with on_heartbeat(_Watchdog(log, hang_after)):
                yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()


class _Watchdog:
    """Ends the process when it is not called in time. It resets its timer at most ten times in a period."""

    def __init__(self, log: Any, period: float) -> None:
        self.log, self.period = log, period
        self.last = 0.0
        self()

    def __call__(self) -> None:
        now = time.monotonic()
        if self.period and now - self.last > self.period / 10:
            self.last = now
            faulthandler.dump_traceback_later(self.period, exit=True, file=self.log)
