"""SIGTERM stops a sweep as Ctrl-C does: schedulers of clusters end jobs with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


@contextmanager
def heeding_sigterm() -> Iterator[None]:
    """Within the block SIGTERM raises :class:`Terminated`; nothing outside the main thread, which gets no signals."""
    before = signal.getsignal(signal.SIGTERM)
    heed_sigterm()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def heed_sigterm() -> None:
    """Have SIGTERM raise :class:`Terminated` from now on."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(*_: object) -> NoReturn:
    raise Terminated
