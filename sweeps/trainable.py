"""The Tune actor: it lives for the whole sweep and runs one job after another."""

from __future__ import annotations

from typing import Any, cast

import ray
from ray import tune
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from carft.cell import Cell
from carft.records import Store
from sweeps.jobs import failure, run_payload


class CellActor(tune.Trainable):
    """Runs the job in its config in one step. Imports, models and rendered images stay for the next job."""

    def setup(self, config: dict[str, Any]) -> None:
        import carft.interpolating
        import carft.souping  # noqa: F401  (what jobs import, before the first of them starts)

        self.message = config["job"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job in this process: starting one costs more than a small cell's training."""
        self.message = new_config["job"]
        return True

    def step(self) -> dict[str, Any]:
        run = run_payload if self.message["workers"] == 1 else run_distributed
        return {**run(self.message), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: records are the state."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: records are the state."""


def run_distributed(message: dict[str, Any]) -> dict[str, Any]:
    """Train the job's cell under Ray Train, then unseal it in a task that holds one worker's resources."""
    from carft.execution import Execution
    from sweeps.distributed import train_cell

    cell, store = Cell.from_dict(message["cell"]), Store(message["results"])
    try:
        if message["kind"] in ("search", "confirm") and cell.hyperparameters:
            execution = Execution(
                device="cuda" if message["gpu"] else "cpu", workers=message["workers"], **message["settings"]
            )
            train_cell(cell, message["results"], execution, keep_weights=message["keep_weights"])
        if message["kind"] == "search":
            return {"failure": ""}
        # outside the trial's placement group, which holds a token only
        outside = PlacementGroupSchedulingStrategy(placement_group=cast(Any, None))
        rest = ray.remote(num_cpus=1, num_gpus=int(message["gpu"]), scheduling_strategy=outside)(run_payload)
        return ray.get(rest.remote(message))
    except Exception as error:  # any failure of one cell must leave the sweep running
        return failure(cell, store, error)
