"""A job as a worker process runs it: the same code in a Tune actor, in a Ray task and under Ray Train."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from carft.cell import Cell
from carft.errors import Refusal
from carft.methods import SOUP_RULES
from carft.records import Store
from sweeps.protocol import Job, Kind

if TYPE_CHECKING:
    from carft.execution import Execution

Payload = dict[str, Any]


@dataclass(frozen=True)
class Placement:
    """Where and how cells run: workers per cell, whether each has a GPU, and other settings of the execution."""

    workers: int = 1
    gpu: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        return "cuda" if self.gpu else "cpu"


def payload(job: Job, results: str, placement: Placement) -> Payload:
    """A job as plain values, to be sent to a worker."""
    what = {"kind": job.kind, "cell": job.cell.as_dict(), "keep_weights": job.keep_weights}
    return {**what, "results": results, **asdict(placement)}


def execution_of(message: Payload) -> Execution:
    """The execution of a job on the machine that it reached."""
    from carft.execution import Execution

    return Execution.here(device="cuda" if message["gpu"] else "cpu", **message["settings"])


def run_payload(message: Payload) -> dict[str, Any]:
    """Run a job on one worker. A failure is written to the results folder and returned, not raised."""
    from carft.interpolating import run_curve
    from carft.run import run_cell
    from carft.souping import run_soup

    cell, store = Cell.from_dict(message["cell"]), Store(message["results"])
    kind: Kind = message["kind"]
    execution = execution_of(message)
    try:
        if kind == "curve":
            run_curve(cell, store, execution, by="sweep")
        elif kind == "soup":
            parents = [store.read(parent).cell for parent in cell.parents]
            for greedy in SOUP_RULES:
                run_soup(parents, greedy, store, execution, by="sweep")
        else:
            run_cell(
                cell,
                store,
                execution,
                unseal=kind in ("confirm", "oracle"),
                keep_weights=message["keep_weights"],
                by="sweep",
            )
    except Exception as error:  # any failure of one cell must leave the sweep running
        return failure(cell, store, error)
    return {"failure": ""}


def failure(cell: Cell, store: Store, error: Exception) -> dict[str, Any]:
    """Write why a cell failed; returns the reason."""
    reason = error.message if isinstance(error, Refusal) else f"{type(error).__name__}: {error}"
    store.write_failure(cell, reason, traceback.format_exc())
    return {"failure": reason}
