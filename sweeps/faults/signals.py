"""Handles SIGTERM like Ctrl-C: schedulers of clusters end jobs with SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class StopSignal:
    """The signal that stops a sweep. Ray raises ``KeyboardInterrupt`` anew, so the exception itself cannot hold it."""

    signal: int = signal.SIGINT
    _arrived: int | None = None

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record signals within the block, also while the main thread cannot handle them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._arrived, arriving = os.pipe()
        for end in (self._arrived, arriving):
            os.set_blocking(end, False)
        before = signal.set_wakeup_fd(arriving, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(arriving)
            os.close(self._arrived)
            self._arrived = None

    def received(self) -> int:
        """Number of the signal that has arrived, handled or not; 0 for none. It can be read once."""
        try:
            arrived = b"" if self._arrived is None else os.read(self._arrived, 1000)
        except BlockingIOError:
            return 0
        return next((number for number in arrived if number in (signal.SIGINT, signal.SIGTERM)), 0)

    def install_handler(self) -> None:
        """Install the handler of SIGTERM. Does nothing outside the main thread, which alone handles signals."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminate)

    @contextmanager
    def while_ray_starts(self) -> Iterator[None]:
        """Within the block Ray installs handlers of its own, which raise ``SystemExit`` after they cleaned up."""
        try:
            yield
        except SystemExit:
            self._terminate()
        finally:
            self.install_handler()

    def raise_again(self) -> None:
        """Raise ``KeyboardInterrupt`` again if SIGTERM arrived and the first exception was suppressed.

        ``model_dump`` of pydantic suppresses any exception that is raised in the discriminator of a union. The main
        loop of a sweep calls this method.
        """
        if self.signal == signal.SIGTERM:
            raise KeyboardInterrupt

    def _terminate(self, *_: object) -> NoReturn:
        self.signal = signal.SIGTERM
        raise KeyboardInterrupt


@contextmanager
def sigterm_as_interrupt() -> Iterator[StopSignal]:
    """Within the block SIGTERM raises ``KeyboardInterrupt``; uncaught, it ends the process with exit code 143."""
    before, stop = signal.getsignal(signal.SIGTERM), StopSignal()
    stop.install_handler()
    try:
        yield stop
    except KeyboardInterrupt:
        if stop.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
