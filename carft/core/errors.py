"""Errors, with the commands in their messages.

``UserError`` is shown to the user as a message, never as a traceback.
"""

import difflib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

#: names that one message lists at most
MANY = 12
#: name of the recipe that ``init`` writes
OWN_RECIPE = "recipe.yaml"
#: what the user can do about a corrupt file
RUN_AGAIN = "Put a copy of it back, or run the same sweep again: it makes anew what it can."


class UserError(Exception):
    """A request that is wrong or cannot be served on this machine.

    The command line prints ``message`` (what is wrong) and ``hint`` (what to do) and exits with code 2.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message} {hint}")
        self.message = message
        self.hint = hint


class CorruptFile(UserError):
    """A file that is incomplete, was changed, or does not hold what it must.

    path: the file, or the folder of a record. why: a clause without a full stop.
    """

    def __init__(self, path: Path, why: str, hint: str = RUN_AGAIN) -> None:
        super().__init__(f"The file '{path}' is corrupt: {why}.", hint)


class UnreadableImage(UserError):
    """An image that cannot be decoded."""


class StorageUnavailable(OSError):
    """The object store of the results does not answer or denies access."""

    def __str__(self) -> str:
        return str(self.strerror)


class DeviceFailed(RuntimeError):
    """A GPU does not compute. ``gpu`` is its UUID, or its number and host where it tells no UUID."""

    def __init__(self, why: str, gpu: str) -> None:
        super().__init__(why, gpu)
        self.why, self.gpu = why, gpu

    def __str__(self) -> str:
        return f"{self.gpu}: {self.why}"


class Diverged(RuntimeError):
    """The training loss of a cell is no longer finite."""


def unknown(kind: str, name: str, known: Iterable[str], cutoff: float = 0.5, more: str = "") -> UserError:
    """Return the error for a name that is not in a registry. The hint lists similar names, or the known ones.

    cutoff: least similarity, from 0 to 1, of a name that is proposed. more: what the hint ends with.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=cutoff)
    near = near or [k for k in known if name and (k.endswith(f"/{name}") or k.startswith(name))][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {first_of(known, MANY) or 'none'}."
    return UserError(f"There is no {kind} '{name}'.", hint + more)


def retired(kind: str, name: str, commit: str) -> UserError:
    """Return the error for what was removed. kind: task, model or method; commit: one that has it."""
    return UserError(
        f"The {kind} '{name}' was removed. Its records can still be read and reported.",
        f"To run cells with it, use commit {commit}, which has it.",
    )


def first_of(names: Sequence[str], most: int) -> str:
    """The first names; beyond ``most`` the rest are counted: ``a, b and 4 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def size_words(count: float) -> str:
    """Bytes in words of the right size."""
    if count < 2**30:
        return f"{count / 2**20:,.0f} MiB"
    gib = count / 2**30
    return f"{gib:.1f} GiB" if gib < 10 else f"{gib:,.0f} GiB"


def duration(seconds: float) -> str:
    """Seconds in words of the right size."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


# commands of this program as a person types them

#: how the program is called from a checkout
PROGRAM = "python cli.py"
#: the defaults of ``--results`` and of ``--out`` of a report
RESULTS, REPORT = "results", "report"


def typed(*words: str, results: str | Path = RESULTS, out: str | Path = REPORT) -> str:
    """A command, quoted for a shell. results, out: named where they are not the defaults."""
    named = list(words)
    if str(results) != RESULTS:
        named += ["--results", str(results)]
    if str(out) != REPORT:
        named += ["--out", str(out)]
    return f"{PROGRAM} {shlex.join(named)}"


def recipe_beside(results: str | Path) -> str:
    """The recipe that ``init`` wrote beside a results folder; empty where there is none."""
    own = Path(results).parent / OWN_RECIPE
    return str(own) if own.is_file() else ""


def typed_sweep(results: str | Path) -> str:
    """The command that sweeps into a results folder: by the recipe beside it, else by ``downstream``."""
    return typed("sweep", recipe_beside(results) or "downstream", results=results)


def typed_report(results: str | Path, *subcommand: str) -> str:
    """The command that writes a report on a results folder, to a folder of its own, or a subcommand on that report."""
    place, is_url = Path(results), "://" in str(results)
    name = REPORT if place.name == RESULTS else f"{place.name}-{REPORT}"
    return typed("report", *subcommand, results=results, out=name if is_url else place.with_name(name))


def without_surrogates(text: str) -> str:
    """Text without lone surrogates, which stand for the bytes of a file name that are not UTF-8."""
    return text.encode("utf-8", errors="backslashreplace").decode()
