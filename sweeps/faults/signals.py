"""SIGTERM stops a sweep as Ctrl-C does: schedulers of clusters end jobs with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class Stop:
    """Which signal stops the sweep, once it is interrupted. Ray raises interrupts anew, so the exception cannot say."""

    signal: int = signal.SIGINT

    def heed_sigterm(self) -> None:
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
            self.heed_sigterm()

    def _terminate(self, *_: object) -> NoReturn:
        self.signal = signal.SIGTERM
        raise KeyboardInterrupt


@contextmanager
def heeding_sigterm() -> Iterator[Stop]:
    """Within the block SIGTERM raises ``KeyboardInterrupt``; what nobody catches of it ends the process with 143."""
    before, stop = signal.getsignal(signal.SIGTERM), Stop()
    stop.heed_sigterm()
    try:
        yield stop
    except KeyboardInterrupt:
        if stop.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
