"""Redirects what Ray prints in the process of a sweep to a log file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def redirect_stdio(log: Path) -> Iterator[TextIO]:
    """Redirect standard output and error to ``log`` within the block; yields the original standard error.

    The file is removed when it is empty.
    """
    terminal = sys.stderr if _is_captured() else os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
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


def _is_captured() -> bool:
    """Whether a test captures standard error."""
    try:
        return sys.stderr.fileno() != 2
    except OSError:
        return True


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
