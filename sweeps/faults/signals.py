"""SIGTERM stops a sweep as Ctrl-C does: schedulers of clusters end jobs with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class StopSignal:
    """Which signal stops the sweep, once it is interrupted. Ray raises interrupts anew, so the exception cannot say."""

    signal: int = signal.SIGINT

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
