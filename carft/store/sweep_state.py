"""The state of a sweep on disk. No torch, no Ray.

sweeps/<start>-<process>.json: one for each sweep, replaced every few seconds while it runs.
sweeps/<start>-<process>.log: what Ray printed in the process of the sweep, for people.
"""

import socket
import time
from typing import Annotated, ClassVar

import psutil
from pydantic import Field

from carft.store.document import Document
from carft.store.records import Store

SCHEMA = 1
#: seconds without a write after which a sweep on another machine counts as ended
SILENT = 60.0

#: a time, a duration or a share
Amount = Annotated[float, Field(ge=0, lt=1e11)]


class RunningJob(Document):
    """A job that runs."""

    job: str
    cell: str
    task: str
    method: str
    since: Amount
    """Unix time of its start."""


class Counts(Document):
    """Numbers of cells, of one task or of the whole sweep."""

    total: int = 0
    """All cells."""
    done: int = 0
    """Cells with a record."""
    reused: int = 0
    """Of ``done``: found when the sweep started."""
    failed: int = 0
    """Cells of jobs that failed."""
    pruned: int = 0
    """Cells of trials that were pruned."""
    running: int = 0
    """Jobs that run."""

    @property
    def left(self) -> int:
        """Cells that have not ended."""
        return self.total - self.done - self.failed - self.pruned


class SweepState(Document):
    """``sweeps/<start>-<process>.json``: a sweep at one moment."""

    hint: ClassVar[str] = "Remove the file; no result depends on it."

    version: int = Field(SCHEMA, alias="schema", ge=SCHEMA, le=SCHEMA)
    """Version of the format."""
    recipe: str
    """Name of the recipe."""
    host: str
    """Name of the machine."""
    pid: int = Field(ge=0)
    """Id of the process."""
    started: Amount
    """Unix time of the start."""
    updated: Amount
    """Unix time of this state."""
    counts: Counts
    """Of the whole sweep."""
    tasks: dict[str, Counts] = Field(default_factory=dict)
    """Task -> its numbers."""
    running: tuple[RunningJob, ...] = ()
    """The jobs that run."""
    failed: dict[str, str] = Field(default_factory=dict)
    """Job -> reason."""
    ended: Amount | None = None
    """Unix time of the end; null while the sweep runs."""
    outcome: str = ""
    """``done``, ``stopped`` or ``broken``; empty while the sweep runs."""
    left_s: Amount | None = None
    """Estimated seconds until the end; null if unknown."""
    basis: str = ""
    """Measurements that the estimate rests on."""
    forecast_s: Amount | None = None
    """Seconds that the plan gave; null if unknown."""
    estimate: bool = False
    """Whether that rested on no measurement."""
    slots: int = Field(0, ge=0)
    """Most jobs that ran at once."""
    busy: dict[str, Amount] = Field(default_factory=dict)
    """Device -> busy share of the time, in [0, 1]."""
    busy_lately: dict[str, Amount] = Field(default_factory=dict)
    """The same over the last minutes."""
    data_wait: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of training time in which devices waited for images, in [0, 1]; null before the first cell."""
    gpus_set_aside: dict[str, str] = Field(default_factory=dict)
    """GPU that is not used any more -> reason."""
    searches: int = Field(1, ge=1)
    selection: str = "per-task"

    @property
    def name(self) -> str:
        """Name of the file without its suffix."""
        return state_name(self.started, self.pid)

    @property
    def rate(self) -> float:
        """Cells that this sweep has finished for each second."""
        elapsed = (self.ended or self.updated) - self.started
        return (self.counts.done - self.counts.reused) / elapsed if elapsed > 0 else 0.0

    def is_alive(self) -> bool:
        """Whether the process runs; on another machine, whether it wrote within the last :data:`SILENT` seconds."""
        if self.ended is not None:
            return False
        if self.host != socket.gethostname():
            return time.time() - self.updated < SILENT
        try:
            return psutil.Process(self.pid).create_time() <= self.started + 1  # a number can be in use again
        except psutil.Error as error:
            return isinstance(error, psutil.AccessDenied)


def state_name(started: float, pid: int) -> str:
    """Name, without suffix, of the files of a sweep. started: Unix time in seconds."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(started))}-{pid}"


def write_state(store: Store, state: SweepState) -> None:
    """Write the file of a sweep, or replace it."""
    store.root.stat()  # FileNotFoundError: a results folder that was unmounted must not be created
    store.put(f"sweeps/{state.name}.json", state.model_dump(by_alias=True))


def read_states(store: Store) -> list[SweepState]:
    """The states of all sweeps in a folder, oldest first; one that cannot be read is left out."""
    states = []
    for path in (store.root / "sweeps").glob("*.json"):
        state = store.readable(path, SweepState)
        if state is not None:
            states.append(state)
    return sorted(states, key=lambda state: state.started)
