"""What Ray prints goes to a file: its own words, dumps of its state among them, are not for the terminal of a sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


class Aside:
    """Standard output and error of this process, native code's too, that go to a file. people: where they went."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.own = {number: os.dup(number) for number in (1, 2)}
        captured = _descriptor(sys.stderr) != 2  # a test reads what is printed
        self.people: TextIO = sys.stderr if captured else os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
        try:
            log.parent.mkdir(exist_ok=True)
            to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:  # a full disk: a sweep does not end for want of this file
            to = os.open(os.devnull, os.O_WRONLY)
        self._turn(dict.fromkeys(self.own, to))
        os.close(to)

    def turn_back(self) -> None:
        """Have both go where they went before."""
        self._turn(self.own)

    def _turn(self, to: dict[int, int]) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        for number, descriptor in to.items():
            os.dup2(descriptor, number)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None


@contextmanager
def printing_aside(log: Path) -> Iterator[Aside]:
    """Within the block, what this process prints goes to a file, which is removed if nothing is printed."""
    aside = Aside(log)
    try:
        yield aside
    finally:
        aside.turn_back()
        for descriptor in aside.own.values():
            os.close(descriptor)
        with suppress(OSError):
            if not log.stat().st_size:
                log.unlink()
