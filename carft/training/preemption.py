"""A training that ends before its time. No torch.

At SIGTERM, or when its sweep ends, it ends after a checkpoint; after an epoch it may be pruned.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

#: seconds between two questions to the sweep
ASK_S = 2.0


def never() -> bool:
    """The answer to a training that belongs to no sweep, or writes no checkpoint: it does not end before its time."""
    return False


_asked: ContextVar[Callable[[], bool]] = ContextVar("asked", default=never)
_after_epoch: ContextVar[Callable[[Sequence[float]], None] | None] = ContextVar("after_epoch", default=None)


class Pruned(BaseException):
    """A training ends after an epoch, since its search needs it no more. It is no failure, so nothing handles it."""


@contextmanager
def told_after_epochs(told: Callable[[Sequence[float]], None]) -> Iterator[None]:
    """Trainings within the block call ``told`` after each epoch but the last, with val/top1 of all epochs so far.

    It may raise ``Pruned``, which ends the training and removes its checkpoint.
    """
    token = _after_epoch.set(told)
    try:
        yield
    finally:
        _after_epoch.reset(token)


def tell_epochs(values: Sequence[float]) -> None:
    """Tell val/top1 of all epochs so far to whom the training was asked to tell it, if any."""
    told = _after_epoch.get()
    if told is not None:
        told(values)


@contextmanager
def ending_when(asked: Callable[[], bool]) -> Iterator[None]:
    """Trainings within the block end once ``asked`` returns true. It is called every two seconds at most."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def is_ending() -> bool:
    """Whether trainings of this block are to end, by what :func:`ending_when` was given."""
    return _asked.get()()


@contextmanager
def preemption_noted() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether a training must end: SIGTERM has arrived in the block, or its sweep ends.

    The previous handler gets the signal when the block ends. Outside the main thread, where signals cannot be handled,
    SIGTERM is not noted.
    """
    asked = _asked.get()
    signals = list[int]()
    is_ending = False
    next_ask = 0.0

    def must_end() -> bool:
        nonlocal is_ending, next_ask
        if not is_ending and time.monotonic() >= next_ask:
            is_ending = asked()
            next_ask = time.monotonic() + ASK_S
        return is_ending or bool(signals)

    if threading.current_thread() is not threading.main_thread():
        yield must_end
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    try:
        yield must_end
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        if signals:
            os.kill(os.getpid(), signal.SIGTERM)
