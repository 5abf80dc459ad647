"""A results folder that stops answering: a disk that is full, a share that went away. Wait for it, within reason."""

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

#: seconds that a folder may take to come back
LIMIT_S = 600.0
#: seconds between two looks: the first, and the longest that doubling leads to
FIRST_S, LONGEST_S = 1.0, 20.0
#: bytes that have to fit before cells are sent again
ROOM = 16 * 2**20
#: how often something is tried in a folder that answers
TRIES = 4


class StorageRetry:
    """Waits while a folder does not answer; trouble is over when something is done again.

    say: told in one sentence when the waiting begins and when it ends.
    """

    def __init__(self, store: Store, say: Callable[[str], None], limit: float = LIMIT_S) -> None:
        self.store, self.say, self.limit = store, say, limit
        self.since: float | None = None
        self.pause = FIRST_S

    def call(self, act: Callable[[], Result]) -> Result:
        """What ``act`` gives, which may be called several times; ``UserError`` when the folder stays away."""
        tries = 0
        while True:
            try:
                return act()
            except (OSError, UserError) as error:
                if isinstance(error, UserError) and not isinstance(error.__cause__, OSError):
                    raise
                why = (error.message if isinstance(error, UserError) else str(error)).rstrip(".")
                tries += 1
                if tries > TRIES:
                    raise self._gone(why) from error
                self.wait(why)

    def wait(self, why: str) -> None:
        """Return when the folder answers; ``UserError`` when trouble lasts for longer than the limit."""
        if self.since is None:
            self.since, self.pause = time.monotonic(), FIRST_S
            self.say(
                f"The results folder '{self.store.name}' does not answer: {why}. Waiting up to {self.limit / 60:g} "
                f"minutes for it; nothing that is finished is lost."
            )
        while True:
            if time.monotonic() - self.since > self.limit:
                raise self._gone(why)
            time.sleep(self.pause)
            self.pause = min(2 * self.pause, LONGEST_S)
            if self._answers():
                return

    def over(self) -> None:
        """Something was written: the next trouble is a new one."""
        if self.since is not None:
            self.say(
                f"The results folder answers again after {time.monotonic() - self.since:.0f} s; the sweep goes on."
            )
            self.since = None

    def _answers(self) -> bool:
        """Whether this is still our folder, not an empty place where it was mounted, and a cell may fit."""
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

    def _gone(self, why: str) -> UserError:
        return UserError(
            f"The results folder '{self.store.name}' cannot be used: {why}.",
            "Finished cells are kept. Make room or bring it back; the same command goes on where it stopped.",
        )
