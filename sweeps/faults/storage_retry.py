"""Waits, up to a limit, for a results folder that cannot be used: its disk is full or its share is not mounted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar
from uuid import uuid4

from carft.core.errors import UserError
from carft.store.records import Store
from sweeps.faults.lock import NAME

Result = TypeVar("Result")

#: seconds to wait for a folder at most
LIMIT_S = 600.0
#: seconds between two probes: the first pause doubles up to the longest
FIRST_S, LONGEST_S = 1.0, 20.0
#: free bytes that a probe requires
ROOM = 16 * 2**20
#: retries of one call in a folder that answers
MAX_RETRIES = 4


class StorageRetry:
    """Retries calls while a folder does not answer. One outage lasts until :meth:`over` is called.

    log: receives one sentence when an outage begins and when it ends. limit: seconds of an outage at most.
    """

    def __init__(self, store: Store, log: Callable[[str], None], limit: float = LIMIT_S) -> None:
        self.store, self.log, self.limit = store, log, limit
        self.since: float | None = None
        self.pause = FIRST_S

    def call(self, act: Callable[[], Result]) -> Result:
        """Return the result of ``act``, which may be called several times; ``UserError`` after a long outage."""
        tries = 0
        while True:
            try:
                return act()
            except (OSError, UserError) as error:
                if isinstance(error, UserError) and not isinstance(error.__cause__, OSError):
                    raise
                why = (error.message if isinstance(error, UserError) else str(error)).rstrip(".")
                tries += 1
                if tries > MAX_RETRIES:
                    raise self._unusable(why) from error
                self.wait(why)

    def wait(self, why: str) -> None:
        """Wait until the folder answers; ``UserError`` when the outage lasts longer than the limit."""
        if self.since is None:
            self.since, self.pause = time.monotonic(), FIRST_S
            self.log(
                f"The results folder '{self.store.name}' does not answer: {why}. Waiting up to {self.limit / 60:g} "
                f"minutes for it; nothing that is finished is lost."
            )
        while True:
            if time.monotonic() - self.since > self.limit:
                raise self._unusable(why)
            time.sleep(self.pause)
            self.pause = min(2 * self.pause, LONGEST_S)
            if self._answers():
                return

    def over(self) -> None:
        """End the outage, after a write succeeded."""
        if self.since is not None:
            self.log(
                f"The results folder answers again after {time.monotonic() - self.since:.0f} s; the sweep goes on."
            )
            self.since = None

    def _answers(self) -> bool:
        """Whether the folder is the sweep's, not an empty mount point, and has room for a cell."""
        probe = self.store.root / f".probe-{uuid4().hex}"
        try:
            if not (self.store.root / NAME).is_file():
                return False
            try:
                with probe.open("wb") as stream:
                    stream.write(bytes(ROOM))
                    os.fsync(stream.fileno())
            finally:
                probe.unlink(missing_ok=True)
            self.store.require_writable()
        except (OSError, UserError):
            return False
        return True

    def _unusable(self, why: str) -> UserError:
        return UserError(
            f"The results folder '{self.store.name}' cannot be used: {why}.",
            "Finished cells are kept. Make room or bring it back; the same command goes on where it stopped.",
        )
