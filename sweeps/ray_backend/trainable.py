"""The Tune actor: it lives for the whole sweep and runs one job after another."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

import ray
from ray import tune
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from carft.spec.cell import Cell
from carft.training.execution import Execution
from sweeps.faults.watchdog import log_path, open_job_log, watchdog
from sweeps.ray_backend.jobs import failure, load_plugins, retry_in_parts, run_payload, upload_log


class CellActor(tune.Trainable):
    """Runs the job in its config in one step. Imports, models and rendered images stay for the next job."""

    def setup(self, config: dict[str, Any]) -> None:
        self.message = config["job"]
        import_module("carft.training.run")  # here, since no watchdog runs yet: imports may be slow

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job in this process: starting one costs more than a small cell's training."""
        self.message = new_config["job"]
        return True

    def step(self) -> dict[str, Any]:
        try:
            open_job_log(self.message)
        except OSError as error:  # the results folder does not answer
            return {**failure(self.message, error), "done": True}
        run = run_watched if self.message["execution"]["workers"] == 1 else run_distributed
        result = run(self.message)
        upload_log(self.message)
        return {**result, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: records are the state."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: records are the state."""


def run_watched(message: dict[str, Any]) -> dict[str, Any]:
    """Run the job in this process, under the watchdog."""
    try:
        with watchdog(log_path(message["results"], message["key"]), message["hang_after"]):
            return run_payload(message)
    except OSError as error:  # the log cannot be written
        return failure(message, error)


def run_distributed(message: dict[str, Any]) -> dict[str, Any]:
    """Train the job's cell under Ray Train, then unseal it in a task that holds one worker's resources."""
    from sweeps.ray_backend.distributed import train_cell

    cell, wanted = Cell.from_dict(message["cell"]), Execution(**message["execution"])
    load_plugins(message["plugins"])

    def train(execution: Execution) -> None:
        given = (message["keep_weights"], message["hang_after"], message["kind"], message["limits"])
        train_cell(cell, message["results"], execution, *given)

    try:
        if message["kind"] in ("search", "confirm") and cell.hyperparameters:
            retry_in_parts(train, cell, wanted)
        if message["kind"] == "search":
            return {"failure": ""}
        # outside the trial's placement group, which holds a token only
        outside = PlacementGroupSchedulingStrategy(placement_group=cast(Any, None))
        rest = ray.remote(num_cpus=1, num_gpus=int(wanted.device == "cuda"), scheduling_strategy=outside)(run_watched)
        return ray.get(rest.remote(message))
    except Exception as error:  # any failure of one cell must leave the sweep running
        return failure(message, error)
