"""Of which kind a failure is. What a sweep does about each kind is in ``sweeps/faults/policy.py``."""

import errno
import re
from enum import StrEnum

from carft.core.errors import (
    DeviceFailed,
    Diverged,
    StorageUnavailable,
    UnreadableImage,
    UserError,
    without_surrogates,
)


class FailureKind(StrEnum):
    """What ended a job without a result."""

    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out of memory"
    UNREADABLE = "unreadable image"
    """An image cannot be decoded."""
    REFUSED = "refused"
    """A ``UserError``."""
    DEVICE = "device"
    """A GPU does not work."""
    CRASH = "crash"
    """Native code brought its process down."""
    HANG = "hang"
    """No heartbeat came in time."""
    STORAGE = "storage"
    """The results folder or a disk does not answer."""
    LOST = "lost"
    """A process or a node is gone."""
    CODE = "error"
    """An exception of the code itself, which a cell with other numbers raises as well."""


#: kinds of failures that the same cell meets again each time
REPEATED = (FailureKind.DIVERGED,)

#: names of Ray's exceptions for a process or a node that is gone
_LOST = (
    "ActorDiedError", "ActorUnavailableError", "LocalRayletDiedError", "NodeDiedError", "ObjectLostError",
    "OutOfMemoryError",  # of Ray, which kills a process where the memory of its node runs out
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


def failure_kind(error: BaseException) -> FailureKind:
    """The kind of failure that an exception is. Exceptions that wrap others are looked into."""
    return _judged(error)[0]


def reason_of(error: BaseException) -> str:
    """An exception in one sentence: that of the cause which decides its kind."""
    kind, cause = _judged(error)
    if isinstance(cause, UserError):
        return without_surrogates(cause.message)
    if isinstance(cause, DeviceFailed | StorageUnavailable):
        return without_surrogates(str(cause))
    said = f"{type(cause).__name__}: {cause}"
    if kind == FailureKind.DEVICE:  # CUDA adds advice for who debugs it
        said = said.splitlines()[0]
    return without_surrogates(said)


def gpu_in(error: BaseException) -> str:
    """The GPU that an exception, or one that it wraps, says has failed; empty where none does."""
    return next((cause.gpu for cause in _causes(error) if isinstance(cause, DeviceFailed)), "")


def _judged(error: BaseException) -> tuple[FailureKind, BaseException]:
    """(kind of failure, the cause that decides it)."""
    causes = _causes(error)
    for cause in causes:
        if kind := _own_kind(cause):
            return kind, cause
    innermost = [cause for cause in causes if not _wrapped(cause)]
    own = [cause for cause in innermost if not _is_a_loss(cause)]  # such a cause ends the other processes
    named = [cause for cause in innermost if type(cause).__name__ in _LOST]  # more precise than a lost connection
    return (FailureKind.CODE, own[0]) if own else (FailureKind.LOST, (named or innermost)[0])


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


def _own_kind(error: BaseException) -> FailureKind | None:
    """The kind of failure that an exception is, whatever it wraps; None if it does not tell."""
    text = str(error)
    match error:
        case Diverged():
            return FailureKind.DIVERGED
        case UnreadableImage():
            return FailureKind.UNREADABLE
        case UserError():
            return FailureKind.REFUSED
        case MemoryError() | OSError(errno=errno.ENOMEM):
            return FailureKind.OUT_OF_MEMORY
        case RuntimeError() if any(said in text.lower() for said in _NO_MEMORY):
            return FailureKind.OUT_OF_MEMORY
        case OSError():
            return FailureKind.STORAGE
    if type(error).__name__ == "SafetensorError" and "I/O error" in text:
        return FailureKind.STORAGE
    return FailureKind.DEVICE if is_gpu_fault(error) else None


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
    candidates = list(workers.values()) if isinstance(workers, dict) else []
    for name in ("_base_exc", "cause", "controller_failure", "health_check_failure", "__cause__"):
        candidates.append(getattr(error, name, None))
    return [inner for inner in candidates if isinstance(inner, BaseException)]
