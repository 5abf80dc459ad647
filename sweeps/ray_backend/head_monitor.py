"""The head of a cluster, watched while a sweep runs. When it dies, Ray waits for it in native code, deaf to signals and
exceptions, and after a while ends the process in words of its own. So we look ourselves, and leave a little earlier."""

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

LOOK_EVERY_S = 3.0
#: looks in a row without an answer before we leave: a single one may be slow for reasons of its own
FEWEST_MISSES = 3
#: seconds after which Ray ends a process whose head does not answer, unless the environment says otherwise
RAY_LEAVES_AFTER = ("RAY_gcs_rpc_server_reconnect_timeout_s", 60.0)
#: we leave after this share of them: a head that is started again within that time is joined again by Ray
SHARE = 2 / 3

#: called in a thread once Ray cannot go on; has to end the process, since the main thread may be stuck
Gone = Callable[[UserError], object]
#: ends the process with these words and this exit code
ExitProcess = Callable[[UserError, int], NoReturn]


def exit_process(refusal: UserError, code: int) -> NoReturn:
    """End this process, whatever its main thread is stuck in."""
    with contextlib.suppress(OSError):
        print(refusal, file=sys.stderr, flush=True)
    os._exit(code)


@contextmanager
def monitor_head(address: str | None, gone: Gone) -> Iterator[None]:
    """Within the block, ``gone`` is called once the head at ``address`` has not answered for a while; None: no watch.

    It is called in a thread of its own, while the main thread may be stuck in Ray: it has to end the process.
    """
    over = threading.Event()
    if address is not None:
        threading.Thread(target=_watch, args=(address, gone, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(address: str, gone: Gone, over: threading.Event) -> None:
    name, usual = RAY_LEAVES_AFTER
    limit = SHARE * float(os.environ.get(name, usual))
    answered, misses = time.monotonic(), 0
    while not over.wait(LOOK_EVERY_S):
        misses += 1
        if _answers(address):
            answered, misses = time.monotonic(), 0
        elif (silent := time.monotonic() - answered) > limit and misses >= FEWEST_MISSES and not over.is_set():
            gone(
                UserError(
                    f"The head of the cluster at {address} has not answered for {silent:.0f} s.",
                    "Finished cells are kept. Start it again; the same command goes on where it stopped.",
                )
            )


def _answers(address: str) -> bool:
    try:
        probe(_door(address))
    except Exception:  # whatever goes wrong in asking is no answer, and must not end the watch
        return False
    return True


def _door(address: str) -> str:
    """Where to knock; what ``auto`` stands for is known once Ray is connected."""
    import ray

    if address == "auto" and ray.is_initialized():
        return ray.get_runtime_context().gcs_address
    return address
