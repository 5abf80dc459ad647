"""Signs of life: long work says that it moves; whoever runs it may listen. Costs nothing when nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[], None] | None] = ContextVar("listener", default=None)


def heartbeat() -> None:
    """Say that the work moved on: a batch of images was made, a step was done."""
    listener = _listener.get()
    if listener is not None:
        listener()


@contextmanager
def on_heartbeat(listener: Callable[[], None]) -> Iterator[None]:
    """``listener`` is called at every sign of life of this thread while the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
