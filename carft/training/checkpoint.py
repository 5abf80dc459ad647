"""Checkpoints of a training, one safetensors file."""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from carft.core.errors import UserError
from carft.core.files import require_plain_file, write_atomic
from carft.methods.ft import HistoryRow
from carft.training.distributed import WorkerRank, broadcast_tensors, on_rank_zero

#: name of the tensor (bytes,) uint8 with the progress, as JSON
PROGRESS = "progress"


@dataclass
class TrainingProgress:
    """How far a training is."""

    step: int = 0
    """Steps done, at least 0."""
    history: list[HistoryRow] = field(default_factory=list)
    """One row per step done."""
    scaler: dict[str, float] = field(default_factory=dict)
    """State of the scale of the loss in float16; empty in any other precision."""


@dataclass
class Checkpoints:
    """The checkpoint file of one cell. The first worker reads it for all, and writes it beside the steps, in a thread.

    The file holds the network's tensors, what the optimiser keeps of each, and progress as JSON. It is written
    atomically and read without pickle. Order and augmentation are functions of (seed, epoch, index), so a training
    resumes with the same bits.
    """

    path: Path
    """The file."""
    every: int = 0
    """Steps between checkpoints; 0 writes none by steps."""
    make: Callable[[Path], object] = lambda folder: folder.mkdir(parents=True, exist_ok=True)
    """Creates the folder of the file. Raises ``OSError`` where none should be created."""
    minutes: float = 0.0
    """Minutes between checkpoints; 0 writes none by time."""
    since: float = field(default_factory=time.monotonic)
    """Monotonic time of the last checkpoint, or of the start, in seconds."""
    _writing: Future[None] | None = field(default=None, repr=False)
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1), repr=False)

    @property
    def is_on(self) -> bool:
        """Whether checkpoints are written at all."""
        return bool(self.every or self.minutes)

    def is_due(self, step: int) -> bool:
        """Whether this worker writes a checkpoint after a step."""
        by_step = self.every and step % self.every == 0
        by_time = self.minutes and time.monotonic() - self.since >= 60 * self.minutes
        return bool(by_step or by_time) and WorkerRank.current().is_first

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: TrainingProgress) -> None:
        """Begin to write the state of this step, once the checkpoint before is written.

        What is written are copies, which later steps do not change. Raises the ``OSError`` of the checkpoint before.
        Does nothing where checkpoints are off, and on any worker but the first.
        """
        if not (self.is_on and WorkerRank.current().is_first):
            return
        self.wait()
        tensors = {}
        for name, value in network.state_dict().items():
            tensors[f"network/{name}"] = value
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer/{index}/{name}"] = torch.as_tensor(value)
        # safetensors takes tensors that are contiguous and share no memory
        copies = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
        history = list(progress.history)
        if history:
            history[-1] = dict(history[-1])  # only the last row changes later
        content = {**vars(progress), "history": history, "scaler": dict(progress.scaler)}

        def write() -> None:
            # no entry of the header, which safetensors limits to 100 MB: half a million steps
            text = bytearray(json.dumps(content).encode())
            copies[PROGRESS] = torch.frombuffer(text, dtype=torch.uint8)
            self.make(self.path.parent)
            write_atomic(self.path, lambda part: save_file(copies, part))

        self._writing = self._thread.submit(write)
        self.since = time.monotonic()

    def wait(self) -> None:
        """Wait until nothing is being written; raises what the writing raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingProgress | None:
        """Load the last checkpoint into network and optimiser; None when there is none, or when it is corrupt.

        Every worker calls this, since each may have another file: a results folder in an object store keeps checkpoints
        on the machine that wrote them.
        """
        if not self.is_on:
            return None
        self.wait()
        read = self._read() if WorkerRank.current().is_first else None
        progress = on_rank_zero(lambda: read and read[0])
        if progress is None:
            return None
        tensors = broadcast_tensors(read[1] if read else {})
        parameters: list[torch.Tensor] = []
        for group in optimizer.param_groups:
            parameters += group["params"]
        weights: dict[str, torch.Tensor] = {}
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("network/"):
                weights[name.removeprefix("network/")] = value
            elif name.startswith("optimizer/"):
                _, index, moment = name.split("/")
                states.setdefault(int(index), {})[moment] = _laid_out(value, parameters[int(index)])
        network.load_state_dict(weights)
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        return progress

    def _read(self) -> tuple[TrainingProgress, dict[str, torch.Tensor]] | None:
        """What the file holds; None when there is none, or when it is corrupt."""
        try:
            require_plain_file(self.path)
            tensors = load_file(self.path)
            text = tensors.pop(PROGRESS).numpy().tobytes()
            return TrainingProgress(**json.loads(text)), tensors
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, UserError):
            return None

    def remove(self) -> None:
        """Remove the checkpoint, once nobody needs it: the record is written, or the loss diverged."""
        if self.is_on:
            with suppress(OSError, SafetensorError):  # write errors are ignored: the file is deleted next
                self.wait()
            self.path.unlink(missing_ok=True)


def _laid_out(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """What the optimiser keeps of a parameter, in its memory layout, as fused kernels expect it."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter).copy_(value)


#: for a training without checkpoints
NONE: Checkpoints = Checkpoints(Path())
