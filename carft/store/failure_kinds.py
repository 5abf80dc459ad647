"""Classification of exceptions: of which kind a failure is, and its reason in one sentence. No torch, no Ray."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping

from carft.core.errors import DeviceFailed, Diverged, MethodFailed, StorageUnavailable, UnreadableImage, UserError

#: kind -> what it means
KINDS: Mapping[str, str] = {
    "diverged": "the loss or a metric is not finite",
    "out of memory": "also when a batch was computed in parts",
    "unreadable image": "an image file cannot be decoded",
    "refused": "the cell cannot be run as asked for, here",
    "device": "a GPU, or what drives it, does not work",
    "crash": "native code brought the process down",
    "hang": "no heartbeat for longer than --hang-after",
    "storage": "a file or a service could not be read or written",
    "lost": "the process was killed from outside, or its node went away",
    "error": "anything else, such as an error of code",
}
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


def cause_for_people(error: BaseException) -> BaseException:
    """The exception, or the one that it wraps, that is a sentence to a person; else the exception itself."""
    readable = UserError | StorageUnavailable | Diverged | MethodFailed
    return next((cause for cause in _causes(error) if isinstance(cause, readable)), error)


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
        for applies, kind in _SIGNS:
            if applies(cause):
                return kind, cause
    innermost = [cause for cause in causes if not _wrapped(cause)]
    own = [cause for cause in innermost if not _is_a_loss(cause)]  # such a cause ends the other processes
    named = [cause for cause in innermost if type(cause).__name__ in _LOST]  # more precise than a lost connection
    return (CODE, own[0]) if own else ("lost", (named or innermost)[0])


def is_of_a_device(error: BaseException) -> bool:
    """Whether an exception says that a GPU does not work, and not that the program misuses it."""
    if isinstance(error, DeviceFailed):
        return True
    left = any(text in str(error).lower() for text in _LEFT)
    return isinstance(error, RuntimeError) and not _wrapped(error) and not left and names_a_device(str(error))


def names_a_device(text: str) -> bool:
    """Whether a text holds what CUDA, its libraries or its driver say of a GPU that does not work."""
    return bool(_OF_A_DEVICE.search(text)) and not any(mistake in text for mistake in _OF_THE_PROGRAM)


def _is_a_loss(error: BaseException) -> bool:
    text = str(error).lower()
    return type(error).__name__ in _LOST or (isinstance(error, RuntimeError) and any(left in text for left in _LEFT))


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(said in text for said in _NO_MEMORY)


#: (test of an exception, kind of failure): the first that holds decides
_SIGNS: tuple[tuple[Callable[[BaseException], bool], str], ...] = (
    (lambda error: isinstance(error, Diverged), "diverged"),
    (lambda error: isinstance(error, MethodFailed), CODE),
    (_is_lack_of_memory, "out of memory"),
    (is_of_a_device, "device"),
    (lambda error: isinstance(error, UnreadableImage), UNREADABLE),
    (lambda error: isinstance(error, UserError), "refused"),
    (lambda error: isinstance(error, OSError), "storage"),
    (lambda error: type(error).__name__ == "SafetensorError" and "I/O error" in str(error), "storage"),
)


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
