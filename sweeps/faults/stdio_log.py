"""Redirects what Ray prints in the process of a sweep to a log file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


class StdioRedirect:
    """Standard output and error of this process, with those of native code, redirected to a file."""

    def __init__(self, log: Path) -> None:
        self.original = {number: os.dup(number) for number in (1, 2)}
        self.terminal: TextIO = sys.stderr
        """The original standard error."""
        if not _is_captured():
            self.terminal = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
        try:
            log.parent.mkdir(exist_ok=True)
            target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:  # the disk is full; the sweep does not depend on this file
            target = os.open(os.devnull, os.O_WRONLY)
        self._redirect(dict.fromkeys(self.original, target))
        os.close(target)

    def restore(self) -> None:
        """Undo the redirection."""
        self._redirect(self.original)

    def _redirect(self, targets: dict[int, int]) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        for number, descriptor in targets.items():
            os.dup2(descriptor, number)


def _is_captured() -> bool:
    """Whether a test captures standard error."""
    try:
        return sys.stderr.fileno() != 2
    except OSError:
        return True


@contextmanager
def redirect_stdio(log: Path) -> Iterator[StdioRedirect]:
    """Redirect standard output and error to ``log`` within the block. The file is removed when it is empty."""
    redirect = StdioRedirect(log)
    try:
        yield redirect
    finally:
        redirect.restore()
        for descriptor in redirect.original.values():
            os.close(descriptor)
        with suppress(OSError):
            if not log.stat().st_size:
                log.unlink()
