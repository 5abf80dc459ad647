"""Failure records: why a cell did not finish, of which kind, at which attempt, with the tail of its log. No torch."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carft.core.errors import Diverged, StorageUnavailable, UnreadableImage, UserError
from carft.spec.cell import Cell
from carft.store.records import Store

#: kind -> what it means
KINDS: Mapping[str, str] = {
    "diverged": "the loss or a metric is not finite",
    "out of memory": "also when a batch was computed in parts",
    "unreadable image": "an image file cannot be decoded",
    "refused": "the cell cannot be run as asked for, here",
    "crash": "native code brought the process down",
    "hang": "nothing moved for longer than --hang-after",
    "storage": "a file or a service could not be read or written",
    "lost": "the process was killed from outside, or its node went away",
    "error": "anything else",
}
#: kinds that say nothing of the cell itself: the same command runs such cells again
PASSING = ("storage", "lost")
#: how much of a log a failure record keeps: its last lines, in characters
TAIL = 20_000
#: Ray's words, by the names of its exceptions, for a process or a node that went away
_LOST = (
    "ActorDiedError", "ActorUnavailableError", "LocalRayletDiedError", "NodeDiedError", "ObjectLostError",
    "OwnerDiedError", "PreemptionError", "RayActorError", "WorkerCrashedError", "WorkerGroupStartupFailedError",
    "WorkerGroupStartupTimeoutError",
)  # fmt: skip
#: what gloo and NCCL say to the processes of a cell when one of them went away
_LEFT = ("connection closed by peer", "connection reset by peer", "remote process exited")
#: errors of the operating system that mean a lack of memory
_MEMORY = (errno.ENOMEM,)


@dataclass(frozen=True)
class Failure:
    """Why a job of a cell ended without its records.

    kind: a key of :data:`KINDS`. job: search, confirm, curve or soup; empty where nobody said. attempt: from 1.
    when: UTC. details: the traceback, where there is one. log: the end of the cell's log.
    """

    cell: str
    spec: Mapping[str, Any]
    reason: str
    details: str = ""
    kind: str = "error"
    job: str = ""
    attempt: int = 1
    when: str = ""
    log: str = ""

    @property
    def key(self) -> str:
        """The job's key, as the protocol names it."""
        return f"{self.job}-{self.cell}"

    @property
    def facts(self) -> dict[str, Any]:
        """What a failure record holds besides cell, reason and details."""
        return {"kind": self.kind, "job": self.job, "attempt": self.attempt, "when": self.when, "log": self.log}

    @property
    def title(self) -> str:
        """What was run, in words."""
        return f"{self.spec['method']} on {self.spec['task']}, seed {self.spec.get('seed', 0)}"

    @staticmethod
    def of(cell: str, content: Any) -> Failure:
        """A failure from what a file holds; ``UserError`` when that is no failure record."""
        try:
            spec = content["spec"]
            known = {name: content[name] for name in Failure.__dataclass_fields__ if name in content}
            found = Failure(**known)
            texts = (found.cell, found.reason, found.details, found.kind, found.job, found.when, found.log)
            words = [*texts, spec["method"], spec["task"]]
            whole = all(isinstance(word, str) for word in words) and isinstance(found.attempt, int)
        except (KeyError, TypeError) as error:
            raise _broken(cell, f"{type(error).__name__}: {error}") from error
        if not whole or not isinstance(spec, dict):
            raise _broken(cell, "a value has the wrong type")
        if found.cell != cell:
            raise _broken(cell, f"it belongs to cell {found.cell}")
        return found


def _broken(cell: str, why: str) -> UserError:
    return UserError(
        f"The failure record of cell {cell} cannot be read: {why}.", "Remove it; the cell then runs again."
    )


def write_failure(
    store: Store, cell: Cell, error_kind: str, reason: str, details: str = "", job: str = "", log: Path | None = None
) -> Failure:
    """Keep why a job did not finish; a failure of the same job before it makes this the next attempt."""
    try:
        before = read_failure(store, cell.id)
    except UserError:
        before = None
    attempt = before.attempt + 1 if before is not None and before.job == job else 1
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    failure = Failure(cell.id, cell.as_dict(), reason, details, error_kind, job, attempt, when, tail(log))
    store.write_failure(cell, reason, details, failure.facts)
    return failure


def read_failure(store: Store, cell: str) -> Failure | None:
    """A cell's failure; None when there is none, ``UserError`` when it cannot be read."""
    content = store.failure(cell)
    return None if content is None else Failure.of(cell, content)


def each_failure(store: Store) -> Iterator[tuple[str, Failure | UserError]]:
    """(cell, its failure, or why that cannot be read) for every failure record, by cell."""
    for cell in store.failed():
        try:
            found = read_failure(store, cell)
        except UserError as refusal:
            yield cell, refusal
            continue
        if found is not None:
            yield cell, found


def failures(store: Store) -> list[Failure]:
    """Every failure record that can be read, by cell."""
    return [found for _, found in each_failure(store) if isinstance(found, Failure)]


def settled_failures(store: Store) -> dict[str, str]:
    """Job key -> reason of the failures that the same command does not run again."""
    return {f.key: f.reason for f in failures(store) if f.kind not in PASSING and f.job}


def kind_of(error: BaseException) -> str:
    """Which kind of failure an exception is, looking through what Ray and others wrap around it."""
    return _judged(error)[0]


def reason_of(error: BaseException) -> str:
    """An exception in one sentence: the cause that decides its kind, else the innermost one."""
    cause = _judged(error)[1]
    if isinstance(cause, UserError | StorageUnavailable):
        return str(cause.message if isinstance(cause, UserError) else cause)
    return f"{type(cause).__name__}: {cause}"


def _judged(error: BaseException) -> tuple[str, BaseException]:
    """Kind of failure, and the cause that decides it."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, Diverged):
            return "diverged", cause
        if _is_lack_of_memory(cause):
            return "out of memory", cause
        if isinstance(cause, UnreadableImage):
            return "unreadable image", cause
        if isinstance(cause, UserError):
            return "refused", cause
        if isinstance(cause, OSError) or _is_of_safetensors(cause):
            return "storage", cause
    innermost = [cause for cause in causes if not _wrapped(cause)]
    own = [cause for cause in innermost if not _is_a_loss(cause)]  # other processes go away because of it
    named = [cause for cause in innermost if type(cause).__name__ in _LOST]  # says more than those that noticed
    return ("error", own[0]) if own else ("lost", (named or innermost)[0])


def _is_of_safetensors(error: BaseException) -> bool:
    """Whether it is safetensors' own word for an error of the operating system."""
    return type(error).__name__ == "SafetensorError" and "I/O error" in str(error)


def _is_a_loss(error: BaseException) -> bool:
    said = str(error).lower()
    return type(error).__name__ in _LOST or (isinstance(error, RuntimeError) and any(word in said for word in _LEFT))


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno in _MEMORY
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, then what it wraps, outermost first; each once."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        found = waiting.pop(0)
        if any(found is known for known in seen):
            continue
        seen.append(found)
        yield found
        waiting += _wrapped(found)


def _wrapped(error: BaseException) -> list[BaseException]:
    """The exceptions right inside of one."""
    workers = getattr(error, "worker_failures", None)
    names = ("_base_exc", "cause", "controller_failure", "health_check_failure", "__cause__")
    found = [*(workers.values() if isinstance(workers, dict) else ()), *(getattr(error, name, None) for name in names)]
    return [inner for inner in found if isinstance(inner, BaseException)]


def tail(log: Path | None, characters: int = TAIL) -> str:
    """The end of a log, from the beginning of a line; empty when there is none."""
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - characters))
        text = stream.read().decode("utf-8", errors="replace")
    return text if len(text) < characters else text.partition("\n")[2]
