"""Errors with the commands in their messages, and of which kind a failure is.

``UserError`` is shown to the user as a message, never as a traceback.
"""

import difflib
import errno
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

#: names that one message lists at most
MANY = 12
#: what the user can do about a corrupt file
RUN_AGAIN = "Move that folder away and run the sweep again; only what is missing is run."


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


class MethodFailed(RuntimeError):
    """The code of a method from outside this package raised an error. The message names its file and line."""


def unknown(kind: str, name: str, known: Iterable[str], cutoff: float = 0.5, more: str = "") -> UserError:
    """Return the error for a name that is not in a registry. The hint lists similar names, or the known ones.

    cutoff: least similarity, from 0 to 1, of a name that is proposed. more: what the hint ends with.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=cutoff)
    near = near or [k for k in known if name and (k.endswith(f"/{name}") or k.startswith(name))][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {first_of(known, MANY) or 'none'}."
    return UserError(f"There is no {kind} '{name}'.", hint + more)


def first_of(names: Sequence[str], most: int) -> str:
    """The first names; beyond ``most`` the rest are counted: ``a, b and 4 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


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
    folders = {"--results": (str(results), RESULTS), "--out": (str(out), REPORT)}
    named = (word for option, (folder, default) in folders.items() if folder != default for word in (option, folder))
    return f"{PROGRAM} {shlex.join([*words, *named])}"


def typed_report(results: str | Path, *subcommand: str) -> str:
    """The command that writes a report on a results folder, to a folder of its own, or a subcommand on that report."""
    place, is_url = Path(results), "://" in str(results)
    name = REPORT if place.name == RESULTS else f"{place.name}-{REPORT}"
    return typed("report", *subcommand, results=results, out=name if is_url else place.with_name(name))


# kinds of failures

#: the kind of an exception of the code itself, which a cell with other numbers raises as well
CODE = "error"
#: the kind of an image that cannot be decoded
UNREADABLE = "unreadable image"
#: kinds that do not depend on the cell: the same command runs such a cell again
PASSING = ("storage", "lost", "device", UNREADABLE)
#: kinds of failures that the same cell meets again each time
REPEATED = ("diverged",)
#: names of Ray's exceptions for a process or a node that is gone
_LOST = (
    "ActorDiedError", "ActorUnavailableError", "LocalRayletDiedError", "NodeDiedError", "ObjectLostError",
    "OwnerDiedError", "PreemptionError", "RayActorError", "WorkerCrashedError", "WorkerGroupStartupFailedError",
    "WorkerGroupStartupTimeoutError",
)  # fmt: skip
#: messages of gloo and NCCL to the workers of a cell when one of them is gone
_LEFT = ("connection closed by peer", "connection reset by peer", "remote process exited")
#: what CUDA, its libraries and its driver say of a GPU that does not work
_OF_A_DEVICE = re.compile(
    r"CUDA error|CUDNN_STATUS|cuDNN error|CUBLAS_STATUS|CUFFT_|NCCL error|ncclUnhandledCudaError|ncclSystemError"
    r"|No CUDA GPUs are available|CUDA driver error|\bXid\b|fallen off the bus|uncorrectable ECC",
    re.IGNORECASE,
)
#: what CUDA says of a mistake of the program, which it would make on any GPU
_OF_THE_PROGRAM = (
    "device-side assert", "invalid argument", "invalid configuration argument", "no kernel image", "invalid usage",
    "STATUS_NOT_SUPPORTED", "STATUS_BAD_PARAM", "STATUS_INVALID_VALUE",
)  # fmt: skip
#: messages of allocators, lower case
_NO_MEMORY = ("out of memory", "can't allocate memory", "status_alloc_failed")
#: exceptions of this package -> their kind; the first that fits counts
_KINDS = {Diverged: "diverged", MethodFailed: CODE, UnreadableImage: UNREADABLE, UserError: "refused"}


def kind_of(error: BaseException) -> str:
    """The kind of failure that an exception is. Exceptions that wrap others are looked into."""
    return _judged(error)[0]


def reason_of(error: BaseException) -> str:
    """An exception in one sentence: that of the cause which decides its kind."""
    kind, cause = _judged(error)
    if isinstance(cause, UserError):
        return without_surrogates(cause.message)
    if isinstance(cause, DeviceFailed | StorageUnavailable | MethodFailed):
        return without_surrogates(str(cause))
    said = f"{type(cause).__name__}: {cause}"
    return without_surrogates(said.splitlines()[0] if kind == "device" else said)  # CUDA adds advice for who debugs it


def gpu_in(error: BaseException) -> str:
    """The GPU that an exception, or one that it wraps, says has failed; empty where none does."""
    return next((cause.gpu for cause in _causes(error) if isinstance(cause, DeviceFailed)), "")


def without_surrogates(text: str) -> str:
    """Text without lone surrogates, which stand for the bytes of a file name that are not UTF-8."""
    return text.encode("utf-8", errors="backslashreplace").decode()


def _judged(error: BaseException) -> tuple[str, BaseException]:
    """(kind of failure, the cause that decides it)."""
    causes = _causes(error)
    for cause in causes:
        if kind := _own_kind(cause):
            return kind, cause
    innermost = [cause for cause in causes if not _wrapped(cause)]
    own = [cause for cause in innermost if not _is_a_loss(cause)]  # such a cause ends the other processes
    named = [cause for cause in innermost if type(cause).__name__ in _LOST]  # more precise than a lost connection
    return (CODE, own[0]) if own else ("lost", (named or innermost)[0])


def is_gpu_fault(error: BaseException) -> bool:
    """Whether an exception says that a GPU does not work, and not that the program misuses it."""
    if isinstance(error, DeviceFailed):
        return True
    own = isinstance(error, RuntimeError) and not _wrapped(error) and not _is_a_loss(error)
    return own and names_gpu_fault(str(error))


def names_gpu_fault(text: str) -> bool:
    """Whether a text holds what CUDA, its libraries or its driver say of a GPU that does not work."""
    return bool(_OF_A_DEVICE.search(text)) and not any(mistake in text for mistake in _OF_THE_PROGRAM)


def _is_a_loss(error: BaseException) -> bool:
    text = str(error).lower()
    return type(error).__name__ in _LOST or (isinstance(error, RuntimeError) and any(left in text for left in _LEFT))


def _own_kind(error: BaseException) -> str:
    """The kind of failure that an exception is, whatever it wraps; empty if it does not tell."""
    if own := next((kind for type_, kind in _KINDS.items() if isinstance(error, type_)), ""):
        return own
    name, text = type(error).__name__, str(error)
    of_memory = isinstance(error, RuntimeError) and any(said in text.lower() for said in _NO_MEMORY)
    if of_memory or isinstance(error, MemoryError) or name == "OutOfMemoryError":
        return "out of memory"
    if isinstance(error, OSError) or (name == "SafetensorError" and "I/O error" in text):
        return "out of memory" if getattr(error, "errno", None) == errno.ENOMEM else "storage"
    return "device" if is_gpu_fault(error) else ""


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and all exceptions that it wraps, outermost first, each once."""
    causes, waiting = list[BaseException](), [error]
    while waiting:
        current = waiting.pop(0)
        if not any(current is other for other in causes):
            causes.append(current)
            waiting += _wrapped(current)
    return causes


def _wrapped(error: BaseException) -> list[BaseException]:
    """The exceptions that an exception wraps directly."""
    workers = getattr(error, "worker_failures", None)
    names = ("_base_exc", "cause", "controller_failure", "health_check_failure", "__cause__")
    candidates = [
        *(workers.values() if isinstance(workers, dict) else ()),
        *(getattr(error, name, None) for name in names),
    ]
    return [inner for inner in candidates if isinstance(inner, BaseException)]
