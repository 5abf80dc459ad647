"""failures/<id>.json: why a cell did not finish, of which kind, at which attempt, and the end of its log. No torch."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from carft.config.cell import Cell
from carft.core.errors import CorruptFile, UserError, without_surrogates
from carft.core.failure_kinds import REPEATED, FailureKind
from carft.store.document import Document, read_document, utc_now
from carft.store.records import Store

#: characters of a log that a failure record keeps, counted from its end
TAIL = 20_000


class FailedSpec(Document):
    """Specification of a cell that failed. All its keys are kept."""

    task: str
    method: str
    seed: int = 0
    """Seed of the cell."""


class Failure(Document):
    """``failures/<id>.json``: why a job of a cell failed."""

    hint: ClassVar[str] = "Remove the file; the cell then runs again."

    cell: str
    spec: FailedSpec
    """What the cell is."""
    reason: str
    """The cause in one sentence."""
    details: str = ""
    """The traceback, if any."""
    kind: str = FailureKind.CODE
    """``diverged``, ``out of memory``, ``unreadable image``, ``refused``, ``device``, ``crash``, ``hang``, ``storage``,
    ``lost`` or ``error``."""
    job: str = ""
    attempt: int = Field(1, ge=1)
    """Failed attempts of this job so far, this one included."""
    when: str = ""
    log: str = ""
    """End of the log."""

    @property
    def key(self) -> str:
        """Key of the job in the protocol."""
        return f"{self.job}-{self.cell}"

    def published(self) -> "Failure":
        """The failure as reports and archives hold it: without traceback and log, and without a reason that may name
        files of this machine."""
        reason = self.reason if self.kind in REPEATED else self.kind
        return self.model_copy(update={"reason": reason, "details": "", "log": ""})

    @property
    def title(self) -> str:
        """Method, task and seed in words."""
        return f"{self.spec.method} on {self.spec.task}, seed {self.spec.seed}"


def write_failure(
    store: Store,
    cell: Cell,
    kind: str,
    reason: str,
    details: str = "",
    job: str = "",
    log: Path | None = None,
) -> Failure:
    """Write why a job did not finish. An earlier failure of the same job makes this the next attempt."""
    attempt = 1
    with suppress(UserError):
        before = read_failure(store, cell.id)
        if before is not None and before.job == job:
            attempt += before.attempt

    failure = Failure(
        cell=cell.id,
        spec=FailedSpec.model_validate(cell.record_form()),
        reason=without_surrogates(reason),
        details=without_surrogates(details),
        kind=kind,
        job=job,
        attempt=attempt,
        when=utc_now(),
        log=tail(log),
    )
    store.put(f"failures/{cell.id}.json", failure.content())
    return failure


def read_failure(store: Store, cell: str) -> Failure | None:
    """A cell's failure; None when there is none. ``CorruptFile`` for a record that is corrupt or of another cell."""
    path = store.failure_path(cell)
    if not path.is_file():
        return None
    failure = read_document(path, Failure)
    if failure.cell != cell:
        raise CorruptFile(path, f"it belongs to cell {failure.cell}", Failure.hint)
    return failure


def each_failure(store: Store) -> Iterator[tuple[str, Failure | UserError]]:
    """(cell, its failure, or the error of a corrupt failure record), by cell."""
    for cell in store.failed():
        try:
            failure = read_failure(store, cell)
            if failure is not None:
                yield cell, failure
        except UserError as error:
            yield cell, error


def failures(store: Store) -> list[Failure]:
    """Every failure record that can be read, by cell."""
    return [failure for _, failure in each_failure(store) if isinstance(failure, Failure)]


def tail(log: Path | None, characters: int = TAIL) -> str:
    """The end of a log, from the beginning of a line; empty when there is no log."""
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - characters))
        text = stream.read().decode("utf-8", errors="replace")
    return text if len(text) < characters else text.partition("\n")[2]
