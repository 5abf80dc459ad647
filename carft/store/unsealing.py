"""What unsealing leaves on disk: evaluations of a cell on held-out sets, and the log of earlier versions. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from carft.store.document import Document, Metrics, parse_document


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
    """One cell was evaluated on one held-out set: a line of unsealed.jsonl, where earlier versions logged it."""

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


def as_line(access: Access) -> str:
    """The line of the log for an access."""
    return json.dumps(access.content(), sort_keys=True) + "\n"
