"""SIGTERM stops a sweep as Ctrl-C does: schedulers of clusters end jobs with it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class StopSignal:
    """Which signal stops the sweep, once it is interrupted. Ray raises interrupts anew, so the exception cannot say."""

    signal: int = signal.SIGINT
    _arrived: int | None = None

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Within the block, signals are noted as they arrive, also while the main thread cannot handle them."""
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

    def asked(self) -> int:
        """The number of the signal that asks the sweep to stop, handled or not; 0 for none. To be asked once."""
        try:
            arrived = b"" if self._arrived is None else os.read(self._arrived, 1000)
        except BlockingIOError:
            return 0
        return next((number for number in arrived if number in (signal.SIGINT, signal.SIGTERM)), 0)

    def install_handler(self) -> None:
        """Have SIGTERM interrupt from now on; nothing outside the main thread, which alone gets signals."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminate)

    @contextmanager
    def while_ray_starts(self) -> Iterator[None]:
        """Within the block Ray has handlers of its own, which end with ``SystemExit`` once they have cleaned up."""
        try:
            yield
        except SystemExit:
            self._terminate()
        finally:
            self.install_handler()

    def _terminate(self, *_: object) -> NoReturn:
        self.signal = signal.SIGTERM
        raise KeyboardInterrupt


@contextmanager
def sigterm_as_interrupt() -> Iterator[StopSignal]:
    """Within the block SIGTERM raises ``KeyboardInterrupt``; what nobody catches of it ends the process with 143."""
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
