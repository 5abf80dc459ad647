"""A job as a worker process runs it: the same code in a Tune actor, in a Ray task and under Ray Train."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Literal

from carft.cell import Cell
from carft.errors import Refusal
from carft.records import Store
from sweeps.protocol import Job, Kind

Payload = dict[str, Any]


@dataclass(frozen=True)
class Placement:
    """Where cells run: workers per cell, and whether each has a GPU."""

    workers: int = 1
    gpu: bool = False

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        return "cuda" if self.gpu else "cpu"


def payload(job: Job, results: str, placement: Placement) -> Payload:
    """A job as plain values, to be sent to a worker."""
    return {
        "kind": job.kind,
        "cell": job.cell.as_dict(),
        "results": results,
        "workers": placement.workers,
        "gpu": placement.gpu,
    }


def run_payload(message: Payload) -> dict[str, Any]:
    """Run a job on one worker. A failure is written to the results folder and returned, not raised."""
    from carft.execution import Execution
    from carft.run import run_cell, run_curve

    cell, store = Cell.from_dict(message["cell"]), Store(message["results"])
    kind: Kind = message["kind"]
    execution = Execution.here(device="cuda" if message["gpu"] else "cpu")
    try:
        if kind == "curve":
            run_curve(cell, store, execution, by="sweep")
        else:
            confirm = kind == "confirm"
            run_cell(cell, store, execution, unseal=confirm, keep_weights=confirm, by="sweep")
    except Exception as error:  # any failure of one cell must leave the sweep running
        return failure(cell, store, error)
    return {"failure": ""}


def failure(cell: Cell, store: Store, error: Exception) -> dict[str, Any]:
    """Write why a cell failed; returns the reason."""
    reason = error.message if isinstance(error, Refusal) else f"{type(error).__name__}: {error}"
    store.write_failure(cell, reason, traceback.format_exc())
    return {"failure": reason}
