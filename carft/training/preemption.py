"""The end of a training before its time: at SIGTERM, or when its sweep ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: seconds that cells have to write their checkpoints, of the thirty that schedulers give by default
GRACE_S = 20.0
#: seconds between two questions to the sweep
ASK_S = 2.0


#: what a training asks; one that belongs to no sweep does not end
_asked: ContextVar[Callable[[], bool]] = ContextVar("asked", default=lambda: False)


@contextmanager
def ending_when(asked: Callable[[], bool]) -> Iterator[None]:
    """Trainings within the block end once ``asked`` returns true. It is called every two seconds at most."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


class Preemption:
    """Whether a training ends now. asked: returns whether its sweep ends."""

    def __init__(self, asked: Callable[[], bool] = lambda: False) -> None:
        self.signalled = False
        self._asked = asked
        self._told = False
        self._next = 0.0

    @property
    def arrived(self) -> bool:
        """Whether SIGTERM has arrived, or the sweep ends."""
        if not self._told and time.monotonic() >= self._next:
            self._told = self._asked()
            self._next = time.monotonic() + ASK_S
        return self.signalled or self._told

    def note(self, *_: object) -> None:
        """The handler of the signal."""
        self.signalled = True


@contextmanager
def preemption_noted() -> Iterator[Preemption]:
    """Only note SIGTERM within the block, and deliver it to the previous handler when the block ends.

    Outside the main thread, where signals cannot be handled, SIGTERM is not noted.
    """
    preemption = Preemption(_asked.get())
    if threading.current_thread() is not threading.main_thread():
        yield preemption
        return
    before = signal.signal(signal.SIGTERM, preemption.note)
    try:
        yield preemption
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        if preemption.signalled:
            os.kill(os.getpid(), signal.SIGTERM)
