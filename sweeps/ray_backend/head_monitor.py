"""Monitors the head of a cluster, and exits before Ray's reconnect timeout kills the driver.

When the head dies, the main thread waits in native code and handles neither signals nor exceptions.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from carft.core.errors import UserError
from sweeps.ray_backend.connect import probe

POLL_S = 3.0
#: failed probes in a row before the head counts as dead; a single one may be slow
MIN_FAILURES = 3
#: Ray's variable, and its default in seconds, for the time after which Ray ends a driver whose head does not answer
RECONNECT_TIMEOUT = ("RAY_gcs_rpc_server_reconnect_timeout_s", 60.0)
#: share of that time after which the sweep exits; a head that restarts earlier is joined again by Ray
SHARE = 2 / 3
RESUME_HINT = "Finished cells are kept; the same command goes on where it stopped."

#: called in a thread once Ray cannot go on; must end the process, since the main thread may be blocked
OnRayLost = Callable[[UserError], object]
#: ends the process with an error message and an exit code
ExitProcess = Callable[[UserError, int], NoReturn]


def exit_process(error: UserError, code: int) -> NoReturn:
    """Print ``error`` and end this process, also while its main thread is blocked."""
    with contextlib.suppress(OSError):
        print(error, file=sys.stderr, flush=True)
    os._exit(code)


@contextmanager
def monitor_head(address: str | None, on_lost: OnRayLost) -> Iterator[None]:
    """Call ``on_lost`` in a thread once the head at ``address`` has not answered for a while. None: no monitor."""
    over = threading.Event()
    if address is not None:
        threading.Thread(target=_monitor, args=(address, on_lost, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _monitor(address: str, on_lost: OnRayLost, over: threading.Event) -> None:
    name, default = RECONNECT_TIMEOUT
    limit = SHARE * float(os.environ.get(name, default))
    answered, failures = time.monotonic(), 0
    while not over.wait(POLL_S):
        failures += 1
        if _answers(address):
            answered, failures = time.monotonic(), 0
        elif (silent := time.monotonic() - answered) > limit and failures >= MIN_FAILURES and not over.is_set():
            on_lost(
                UserError(
                    f"The head of the cluster at {address} has not answered for {silent:.0f} s.",
                    "Finished cells are kept. Start it again; the same command goes on where it stopped.",
                )
            )


def _answers(address: str) -> bool:
    """Whether a head answers at an address; ``auto`` stands for that of the head, once Ray is connected."""
    try:
        import ray

        if address == "auto" and ray.is_initialized():
            address = ray.get_runtime_context().gcs_address
        probe(address)
    except Exception:  # any error counts as no answer, and must not end the thread
        return False
    return True
