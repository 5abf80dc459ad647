"""Progress heartbeats for watchdogs. Without a listener a heartbeat does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
