"""What unsealing leaves on disk: evaluations of a cell on held-out sets, and a log of every access. No torch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from carft import NUMERICS
from carft.store.document import Document, Metrics, parse_document, utc_now


class Evaluation(Document):
    """cells/<id>/evaluations/<set>.json: the metrics of a cell on one held-out set."""

    set: str
    """``test``, or ``ood/<suite>``."""
    metrics: Metrics
    """Metrics by name, with the name of the set as prefix."""
    by: str = "unknown"
    """Command that evaluated the cell, such as ``sweep`` or ``train``."""
    unsealed_at: str = ""
    """Time of the evaluation, in UTC, as ISO 8601."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Code version, packages, hardware and execution of the evaluation."""


class Access(Document):
    """A line of unsealed.jsonl: one cell was evaluated on one held-out set."""

    hint: ClassVar[str] = "Correct or remove the broken line; the other lines still count."

    when: str
    """Time of the access, in UTC, as ISO 8601."""
    cell: str
    """Id of the cell."""
    set: str
    """``test``, or ``ood/<suite>``."""
    by: str
    """Command that evaluated the cell."""
    numerics: int = Field(0, ge=0)
    """NUMERICS of the record of the cell; 0 in lines of earlier versions, which do not state it."""


def read_log(path: Path) -> list[Access]:
    """All lines of a log, in order.

    Raises:
        CorruptFile: A line is not an access.
    """
    return [parse_document(line, Access, path) for line in path.read_bytes().splitlines()]


def append_to_log(path: Path, cell: str, name: str, by: str) -> None:
    """Append one line in a single write, so that processes can append at the same time."""
    access = Access(when=utc_now(), cell=cell, set=name, by=by, numerics=NUMERICS)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(log, as_line(access).encode())
        os.fsync(log)
    finally:
        os.close(log)


def as_line(access: Access) -> str:
    """The line of the log for an access."""
    return json.dumps(access.content(), sort_keys=True) + "\n"
