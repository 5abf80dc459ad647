"""Progress heartbeats for watchdogs. Without a listener a heartbeat does nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

#: seconds between two heartbeats of :func:`beating`
BEAT_S = 1.0
_listener: ContextVar[Callable[[], None]] = ContextVar("listener", default=lambda: None)


def heartbeat() -> None:
    """Report progress: a batch of images is ready, or a training step is done."""
    _listener.get()()


@contextmanager
def on_heartbeat(listener: Callable[[], None]) -> Iterator[None]:
    """Call ``listener`` at every heartbeat of this thread while the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def beating(seconds: float) -> Iterator[None]:
    """Report progress from a thread while the block runs, which waits for something; for so many seconds at most."""
    over = threading.Event()
    context = copy_context()
    end = time.monotonic() + seconds

    def beat() -> None:
        while time.monotonic() < end and not over.wait(BEAT_S):
            context.run(heartbeat)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
