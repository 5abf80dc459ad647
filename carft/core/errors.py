"""The one exception for requests that cannot be served: shown as a sentence, never as a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

#: names that a sentence can list
MANY = 12
#: what the user can do about a corrupt file
RUN_AGAIN = "Move that folder away and run the sweep again; only what is missing is run."


class UserError(Exception):
    """A request that is wrong or cannot work here.

    The command line prints ``message`` and ``hint`` and exits with code 2.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message} {hint}")
        self.message = message
        self.hint = hint


class CorruptFile(UserError):
    """A file of a results folder that is incomplete or does not hold what it must."""


class UnreadableImage(UserError):
    """An image that cannot be decoded."""


class StorageUnavailable(OSError):
    """The object store that holds the results does not answer, or does not allow what is asked of it."""

    def __str__(self) -> str:
        return str(self.strerror)


class Diverged(RuntimeError):
    """A cell whose loss is no longer finite: the request was fine, the run was not."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """A refusal for a name that is not in a registry, with the nearest names that are."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near = near or [k for k in known if name and (k.endswith(f"/{name}") or k.startswith(name))][:3]
    few = ", ".join(known[:MANY]) + (f" and {len(known) - MANY} more" if len(known) > MANY else "")
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {few or 'none'}."
    return UserError(f"There is no {kind} '{name}'.", hint)


def corrupt(path: Path, why: str, hint: str = RUN_AGAIN) -> CorruptFile:
    """The error for a file that cannot be read. ``why``: a clause without a full stop."""
    return CorruptFile(f"The file '{path}' is corrupt: {why}.", hint)
