"""Checkpoints of a training: one safetensors file, written atomically, read without pickle."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from carft.core.files import write_atomic
from carft.methods.ft import Row
from carft.training.distributed import WorkerRank, broadcast_tensors, on_rank_zero


@dataclass
class Progress:
    """How far a training is."""

    step: int = 0
    """Steps done, at least 0."""
    history: list[Row] = field(default_factory=list)
    """One row per step done."""
    scaler: dict[str, float] = field(default_factory=dict)
    """State of the scale of the loss in float16; empty in any other precision."""


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


@dataclass
class _Writer:
    """Writes checkpoints in a thread, one at a time."""

    since: float = field(default_factory=time.monotonic)
    """Monotonic time of the last checkpoint, or of the start, in seconds."""
    writing: Future[None] | None = None
    """The checkpoint that is being written."""

    def start(self, write: Callable[[], None]) -> None:
        """Begin to write, once the checkpoint before is written."""
        self.wait()
        pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing = pool.submit(write)
        pool.shutdown(wait=False)

    def wait(self) -> None:
        """Wait until nothing is being written; raises what the writing raised."""
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint file of one cell. The first worker reads it for all, and writes it.

    The file holds the network's tensors, AdamW's moments, and progress as JSON in its header. Order and augmentation
    are functions of (seed, epoch, index), so a training resumes with the same bits.
    """

    path: Path
    """The file."""
    every: int = 0
    """Steps between checkpoints that are written at once, inside the step; 0 writes none of these."""
    make: Callable[[Path], object] = _make
    """Creates the folder of the file. Raises ``OSError`` where none should be created."""
    minutes: float = 0.0
    """Minutes of training between checkpoints that are written beside the steps; 0 writes none of these."""
    _writer: _Writer = field(default_factory=_Writer, repr=False, compare=False)

    @property
    def is_on(self) -> bool:
        """Whether checkpoints are written at all."""
        return bool(self.every or self.minutes)

    def begin(self) -> None:
        """Start to count the minutes."""
        self._writer.since = time.monotonic()

    def is_due(self, step: int, worker: WorkerRank) -> bool:
        """Whether this worker writes a checkpoint after a step."""
        if worker.rank:
            return False
        in_step = self.every and step % self.every == 0
        return bool(in_step or (self.minutes and time.monotonic() - self._writer.since >= 60 * self.minutes))

    def save(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, worker: WorkerRank
    ) -> None:
        """Write a checkpoint if one is due at this step. Raises the ``OSError`` of a writing beside the steps."""
        if not self.is_due(progress.step, worker):
            return
        if self.every and progress.step % self.every == 0:
            self.save_now(network, optimizer, progress, worker)
        else:
            self._writer.start(self._snapshot(network, optimizer, progress))
            self.begin()

    def save_now(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, worker: WorkerRank
    ) -> None:
        """Write a checkpoint at this step and return when it is there. Does nothing where checkpoints are off."""
        if worker.rank or not self.is_on:
            return
        self._writer.wait()
        self._snapshot(network, optimizer, progress)()
        self.begin()

    def _snapshot(self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> Callable[[], None]:
        """Return a function that writes the state of this step, from copies: later steps do not change it."""
        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
        copies = {name: _copied(value) for name, value in tensors.items()}
        history = [*progress.history[:-1], *map(dict, progress.history[-1:])]  # only the last row changes later
        state = {**vars(progress), "history": history, "scaler": dict(progress.scaler)}

        def write() -> None:
            note = {"progress": json.dumps(state)}
            self.make(self.path.parent)
            write_atomic(self.path, lambda part: save_file(copies, part, note))

        return write

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
        """Load the last checkpoint into network and optimiser; None when there is none, or when it is corrupt.

        Every worker calls this, since each may have another file: a results folder in an object store keeps checkpoints
        on the machine that wrote them.
        """
        if not self.is_on:
            return None
        read = self._read() if WorkerRank.current().is_first else None
        progress = on_rank_zero(lambda: read and read[0])
        if progress is None:
            return None
        tensors = broadcast_tensors(read[1] if read else {}, next(network.parameters()).device)
        network.load_state_dict({k.removeprefix("network/"): v for k, v in tensors.items() if k.startswith("network/")})
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer/"):
                _, index, moment = name.split("/")
                states.setdefault(int(index), {})[moment] = _laid_out(value, parameters[int(index)])
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        return progress

    def _read(self) -> tuple[Progress, dict[str, torch.Tensor]] | None:
        """What the file holds; None when there is none, or when it is corrupt."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as stream:
                progress = Progress(**json.loads(stream.metadata()["progress"]))
                return progress, {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  (not a dict)
        except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
            return None

    def remove(self) -> None:
        """Remove the checkpoint, once nobody needs it: the record is written, or the loss diverged."""
        if self.is_on:
            with suppress(OSError, SafetensorError):  # write errors are ignored: the file is deleted next
                self._writer.wait()
            self.path.unlink(missing_ok=True)


def _copied(value: torch.Tensor) -> torch.Tensor:
    """A copy in the memory of the host, as safetensors wants it: contiguous, and sharing no memory."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _laid_out(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A moment in the memory layout of its parameter, as the fused kernel of AdamW expects it."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


#: for a training without checkpoints
NONE = Checkpoints(Path())
