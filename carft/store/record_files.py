"""The JSON files of a finished cell: record.json, spec.json and evaluations/<set>.json. No torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from carft import SCHEMA_VERSION
from carft.config.cell import Cell
from carft.protocol.selection import DECIDING
from carft.store.document import Document, Json, Metrics, Number


class RecordedExecution(Document):
    """How a cell was run. Other settings of the execution are kept as they are."""

    device: str = "unknown"
    """``cpu`` or ``cuda``."""
    workers: int = Field(1, ge=1)
    """Number of processes."""
    cells_per_gpu: int = Field(1, ge=1)
    """Cells that shared a GPU."""
    compile: bool = False
    """Whether the image encoders were compiled; the durations include it."""


class Provenance(Document):
    """What made a record or an evaluation. Other facts are kept as they are."""

    numerics: int = Field(ge=0)
    carft: str = "unknown"
    """Version of carft."""
    python: str = "unknown"
    """Version of Python."""
    packages: dict[str, str] = Field(default_factory=dict)
    """Package -> version."""
    machine: dict[str, bool | Number | str | None] = Field(default_factory=dict)
    """Facts of the hardware."""
    cpu: dict[str, str] = Field(default_factory=dict)
    """Model and instructions of the processor."""
    execution: RecordedExecution = RecordedExecution()
    """How the cell was run."""
    digests: dict[str, str] = Field(default_factory=dict)
    """Digests of data and weights; ``attested``: whether the data are the published ones."""
    members: list[str] = Field(default_factory=list)
    """Cells of a soup."""
    pixels: dict[str, str] = Field(default_factory=dict)
    """Set -> digest of its pixels as they were used, after all caches."""
    heads: str = ""
    """Digest of class and context heads as they were used."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables of processor libraries that were set."""


@lru_cache(maxsize=4096)
def shared_provenance(text: str) -> Mapping[str, Any]:
    """The content of a provenance from its JSON: one object for all cells that were made alike, which saves memory."""
    content: dict[str, Any] = json.loads(text)
    return content


def _selectable(metrics: Metrics) -> Metrics:
    missing = [name for name in DECIDING if name not in metrics]
    if missing:
        raise ValueError(f"there is no {' and no '.join(missing)}")
    return metrics


class RecordFile(Document):
    """``cells/<id>/record.json``: a finished cell."""

    schema_version: int = Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)
    """Version of the format."""
    cell: str
    metrics: Annotated[Metrics, AfterValidator(_selectable)]
    """Metrics of validation and of training."""
    provenance: Provenance
    durations: Metrics
    """Seconds by phase."""
    finished_at: str = ""
    """When the record was written: UTC, ISO 8601."""
    journal: bool = False
    """Whether a journal names the record."""


#: ``cells/<id>/spec.json``: the settings of a cell
Specification = dict[str, Json]


class Evaluation(Document):
    """``cells/<id>/evaluations/<set>.json``: a cell on one held-out set."""

    set: str
    metrics: Metrics
    """Metrics; their names begin with the set."""
    by: str = "unknown"
    unsealed_at: str = ""
    """When the cell was evaluated: UTC, ISO 8601."""
    provenance: Provenance | None = None


@dataclass(frozen=True)
class Record:
    """A finished cell: its specification, and the fields of :class:`RecordFile`."""

    cell: Cell
    metrics: Mapping[str, float]
    provenance: Mapping[str, Any]
    durations: Mapping[str, float]
    finished_at: str = field(default="", compare=False)
    in_journal: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def numerics(self) -> int:
        return int(self.provenance["numerics"])

    @property
    def made_with(self) -> Provenance:
        """The provenance with types, and with a default for what is not in it."""
        return Provenance.model_validate(dict(self.provenance))
