"""Locks on files between processes. The operating system releases them when the process ends."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

#: seconds between two tries to get a lock
POLL_S = 0.2
#: errors of a file system that has no locks
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL}

Lock = Literal["held", "busy", "unsupported"]


def try_lock(descriptor: int) -> Lock:
    """Try to lock an open file, without waiting. ``unsupported``: the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "busy"
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return "unsupported"
        raise
    return "held"


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of an existing file or folder; on a file system without locks, hold nothing.

    waiting: called every :data:`POLL_S` seconds while another process holds it. Raises ``OSError`` if the path cannot
    be opened.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while try_lock(descriptor) == "busy":
            waiting()
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)
