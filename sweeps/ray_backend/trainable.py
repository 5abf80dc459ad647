"""The Tune actor: it lives for the whole sweep and runs one job after another."""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from ray import tune

from carft.core.errors import DeviceFailed, UserError
from carft.core.failure_kinds import FailureKind
from carft.core.garbage import import_without_collecting
from carft.protocol.selection import DECIDING
from carft.store.records import Store
from carft.training import device
from carft.training.preemption import never
from sweeps.faults.policy import Fitted
from sweeps.faults.watchdog import begin_job_log, end_process, watchdog
from sweeps.ray_backend.epochs import EPOCH_VALUES, EpochSteps
from sweeps.ray_backend.gpus import HOLDS
from sweeps.ray_backend.jobs import Payload, record_exception, run_payload
from sweeps.ray_backend.stopping import ending_with_driver

#: seconds between two heartbeats of an actor that holds a GPU
HOLD_S = 2.0
# before the probe, which is the first product of an actor
device.use_repeatable_cublas()
device.clear_bit_variables()


class CellActor(tune.Trainable):
    """Runs the job in its config in one step, or up to the next validated epoch where it may be pruned.

    Imports, models and rendered images stay for the next job.

    On a GPU it runs no job unless the GPU computes. An actor whose GPU is set aside, or does not compute from the
    start, holds the GPU until the sweep is over, so that Ray gives it to no other actor of the sweep.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self.message: Payload = config["job"]
        execution = self.message.execution
        on_gpu = execution.device == "cuda" and execution.workers == 1  # of several workers the actor has none
        self.gpu = device.gpu_name() if on_gpu else ""
        self.used = self.holds = False
        self.fitted: Fitted = {}
        self.steps: EpochSteps | None = None
        if execution.workers == 1:  # several have processes of their own
            import_without_collecting("carft.training.run")  # here, since no watchdog runs yet: imports may be slow

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job in this process: starting one costs more than a small cell's training."""
        self.cleanup()
        self.message = new_config["job"]
        return True

    def cleanup(self) -> None:
        """End a job that waits since it was pruned."""
        if self.steps is not None:
            self.steps.close()
            self.steps = None

    def step(self) -> dict[str, Any]:
        if self.holds:
            time.sleep(HOLD_S)
            return self._held()
        if self.gpu in self.message.aside:
            return self._held()
        try:
            if self.steps is None:
                begin_job_log(self.message.results, self.message.job.key, self.message.start, self.gpu)
                broken = self._broken()
                if broken:
                    return self._held(broken)
                self.used = True
            result = self._run_by_epoch() if self.message.by_epoch else self._run()
        except OSError as error:  # the results folder does not answer
            return {**record_exception(self.message, error), "done": True}
        if not result.get("done", True):
            return result
        with suppress(OSError, UserError):  # no outcome depends on it
            store = self.message.store
            with store.changing(f"logs/{self.message.job.key}.log"):
                pass  # uploads the log
            if not result["failure"]:
                result |= self._shown(store)
        if self.gpu and result.get("kind") == FailureKind.DEVICE:
            end_process(self.message.log, result["failure"], by_job=True)
        return {"gpu": self.gpu, **result, "done": True}

    def _shown(self, store: Store) -> dict[str, float]:
        """What Tune is shown of a cell that is done; nothing of a job that makes others from it."""
        cell = self.message.job.cell
        if self.message.job.kind not in ("search", "grid", "confirm"):
            return {}
        record = store.read(cell.id)
        seconds = record.durations.get("train", 0.0) + record.durations.get("validate", 0.0)
        selecting = {name: record.metrics[name] for name in DECIDING}
        return {**selecting, "epochs": cell.training.epochs, "seconds": seconds}

    def _run(self, must_end: Callable[[], bool] = never) -> dict[str, Any]:
        """Run the job to its end. must_end: whether the process was told to end, where this is not its main thread."""
        with ExitStack() as guards:
            if self.message.execution.workers == 1:  # several workers watch themselves
                guards.enter_context(watchdog(self.message.log, self.message.hang_after))
                guards.enter_context(ending_with_driver(self.message.job.cell.id, must_end))
            return run_payload(self.message, self.fitted)

    def _run_by_epoch(self) -> dict[str, Any]:
        """Run the job to its next validated epoch, which is then the result, or to its end."""
        if self.steps is None:
            self.steps = EpochSteps(self._run)
        said = self.steps.step()
        if isinstance(said, dict):
            self.steps = None
            return said
        return {"failure": "", EPOCH_VALUES: said, "val/top1": said[-1], "epochs": len(said), "done": False}

    def _broken(self) -> str:
        """Why the GPU does not compute in this new process; empty if it does, or there is none. A used process ends."""
        if not self.gpu:
            return ""
        try:
            device.probe_gpu("cuda", self.gpu)
        except DeviceFailed as error:
            if self.used:
                end_process(self.message.log, error.why, by_job=False)
            return error.why
        return ""

    def _held(self, broken: str = "") -> dict[str, Any]:
        """The result of an actor that runs no job and holds its GPU. broken: why the GPU does not compute."""
        self.holds = True
        return {"failure": "", HOLDS: self.gpu, "broken": broken, "done": False}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: records are the state."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: records are the state."""
