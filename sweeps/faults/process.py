"""The process of a sweep: SIGTERM ends it like Ctrl-C, and what Ray prints in it goes to a log file.

Schedulers of clusters end jobs with SIGTERM.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TextIO


class StopSignal:
    """The signal that stops a sweep. Ray raises ``KeyboardInterrupt`` anew, so the exception itself cannot hold it."""

    signal: int = signal.SIGINT
    arrived: int | None = None
    """Read end of a pipe with the signals that arrived; None outside the main thread, which alone handles signals."""

    def received(self) -> int:
        """Number of the signal that has arrived, handled or not; 0 for none. It can be read once."""
        try:
            arrived = b"" if self.arrived is None else os.read(self.arrived, 1000)
        except BlockingIOError:
            return 0
        return next((number for number in arrived if number in (signal.SIGINT, signal.SIGTERM)), 0)

    @contextmanager
    def while_ray_starts(self) -> Iterator[None]:
        """Within the block Ray installs handlers of its own, which raise ``SystemExit`` after they cleaned up."""
        try:
            yield
        except SystemExit:
            self.terminate()
        finally:
            if self.arrived is not None:
                signal.signal(signal.SIGTERM, self.terminate)

    def raise_again(self) -> None:
        """Raise ``KeyboardInterrupt`` again if SIGTERM arrived and the first exception was suppressed.

        ``model_dump`` of pydantic suppresses any exception that is raised in the discriminator of a union. The main
        loop of a sweep calls this method.
        """
        if self.signal == signal.SIGTERM:
            raise KeyboardInterrupt

    def terminate(self, *_: object) -> NoReturn:
        """The handler of SIGTERM."""
        self.signal = signal.SIGTERM
        raise KeyboardInterrupt


@contextmanager
def sigterm_as_interrupt() -> Iterator[StopSignal]:
    """Within the block SIGTERM raises ``KeyboardInterrupt``; uncaught, it ends the process with exit code 143.

    Signals are recorded, also while the main thread cannot handle them.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    stop.arrived, arriving = os.pipe()
    for end in (stop.arrived, arriving):
        os.set_blocking(end, False)
    wakeup = signal.set_wakeup_fd(arriving, warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGTERM, stop.terminate)
    try:
        yield stop
    except KeyboardInterrupt:
        if stop.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(arriving)
        os.close(stop.arrived)
        stop.arrived = None


@contextmanager
def redirect_stdio(log: Path) -> Iterator[TextIO]:
    """Redirect standard output and error to ``log`` within the block; yields the original standard error.

    The file is removed when it is empty.
    """
    is_captured = True  # by a test
    with suppress(OSError):
        is_captured = sys.stderr.fileno() != 2
    terminal = sys.stderr if is_captured else os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    try:
        log.parent.mkdir(exist_ok=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # the disk is full; the sweep does not depend on this file
        target = os.open(os.devnull, os.O_WRONLY)
    try:
        with printing_to(target):
            os.close(target)
            yield terminal
    finally:
        with suppress(OSError):
            if not log.stat().st_size:
                log.unlink()


@contextmanager
def printing_to(descriptor: int) -> Iterator[None]:
    """Redirect standard output and error of this process, with those of native code, to an open file."""
    original = {number: os.dup(number) for number in (1, 2)}

    def redirect(targets: dict[int, int]) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        for number, target in targets.items():
            os.dup2(target, number)

    redirect(dict.fromkeys(original, descriptor))
    try:
        yield
    finally:
        redirect(original)
        for copy in original.values():
            os.close(copy)
