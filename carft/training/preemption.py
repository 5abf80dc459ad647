"""SIGTERM during a training: schedulers of clusters send it some seconds before they kill a process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Preemption:
    """Whether SIGTERM has arrived."""

    arrived: bool = False

    def note(self, *_: object) -> None:
        """The handler of the signal."""
        self.arrived = True


@contextmanager
def sigterm_noted() -> Iterator[Preemption]:
    """Only note SIGTERM within the block, and deliver it to the previous handler when the block ends.

    Outside the main thread, where signals cannot be handled, nothing is noted.
    """
    found = Preemption()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = signal.signal(signal.SIGTERM, found.note)
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        if found.arrived:
            os.kill(os.getpid(), signal.SIGTERM)
