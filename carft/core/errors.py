"""The one exception for requests that cannot be served: shown as a sentence, never as a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

#: names that a sentence can list
MANY = 12


class UserError(Exception):
    """A request that is wrong or cannot work here.

    The command line prints ``message`` and ``hint`` and exits with code 2.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message} {hint}")
        self.message = message
        self.hint = hint


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


def corrupt(path: Path, why: str) -> UserError:
    """The refusal to read a file that is not whole."""
    return UserError(
        f"The record '{path}' is torn or cannot be read: {why}.",
        "Move that folder away and run the sweep again; only what is missing is run.",
    )
