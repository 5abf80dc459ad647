"""Checkpoints of a training: one safetensors file, written atomically, read without pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from carft.core.files import write_atomic
from carft.methods.ft import Row
from carft.training.distributed import WorkerRank


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


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint file of one cell. Every worker reads it; the first worker writes it.

    The file holds the network's tensors, AdamW's moments, and progress as JSON in its header. Order and augmentation
    are functions of (seed, epoch, index), so a training resumes with the same bits.
    """

    path: Path
    """The file."""
    every: int = 0
    """Steps between checkpoints; 0 writes none."""
    make: Callable[[Path], object] = _make
    """Creates the folder of the file. Raises ``OSError`` where none should be created."""

    def save(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, worker: WorkerRank
    ) -> None:
        """Write a checkpoint if one is due at this step."""
        if not self.every or progress.step % self.every or worker.rank:
            return
        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        note = {"progress": json.dumps(vars(progress))}
        self.make(self.path.parent)
        write_atomic(self.path, lambda part: save_file(tensors, part, note))

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
        """Load the last checkpoint into network and optimiser; None when there is none, or when it is corrupt."""
        if not self.every or not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as stream:
                progress = Progress(**json.loads(stream.metadata()["progress"]))
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  (not a dict)
        except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
            return None
        network.load_state_dict({k.removeprefix("network/"): v for k, v in tensors.items() if k.startswith("network/")})
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer/"):
                _, index, moment = name.split("/")
                states.setdefault(int(index), {})[moment] = _laid_out(value, parameters[int(index)])
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        return progress

    def remove(self) -> None:
        """Remove the checkpoint, once the record is written."""
        if self.every:
            self.path.unlink(missing_ok=True)


def _laid_out(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A moment in the memory layout of its parameter, as the fused kernel of AdamW expects it."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


#: for a training without checkpoints
NONE = Checkpoints(Path(), every=0)
