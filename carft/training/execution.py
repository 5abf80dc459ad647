"""Where and how a cell is computed. The record holds it; the cell's id does not depend on it.

Torch is imported inside functions, so that a driver can build and send an ``Execution`` without it.
"""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from carft.config.settings import CHECKPOINT_MINUTES, MOST_CELLS_PER_GPU, CheckpointMinutes
from carft.core.allocator import keep_freed_memory
from carft.core.declaration import Settings
from carft.core.errors import UserError
from carft.training.device import use_repeatable_cublas

if TYPE_CHECKING:
    from carft.core.array_cache import ArrayCache

#: share of the cache that features may fill; heads, views and drawings need the rest
FEATURE_SHARE = 0.9
CPU_INFO = Path("/proc/cpuinfo")


def hardware_facts(device: str) -> dict[str, Any]:
    """System, processor and cores of this machine, and the GPU's name when the device is cuda."""
    here = {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count() or 1}
    if device == "cpu":
        return here
    import torch

    if torch.cuda.is_available():
        here["gpu"] = torch.cuda.get_device_name()
    return here


@cache
def cpu_facts() -> dict[str, str]:
    """Model of the CPU, where Linux tells it, and the instructions that torch uses: both decide the last bits."""
    import torch

    model = "unknown"
    text = ""
    if CPU_INFO.is_file():
        text = CPU_INFO.read_text()
    for line in text.splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"model": model, "instructions": torch.backends.cpu.get_cpu_capability()}


def processor_facts(device: str) -> dict[str, str]:
    """Model of the GPU, or model and instructions of the CPU: what decides the last bits of a forward pass."""
    if device == "cpu":
        return cpu_facts()
    return {"gpu": hardware_facts(device).get("gpu", "unknown")}


@dataclass(frozen=True)
class Execution(Settings):
    """How a cell is computed on this machine. Raises ``UserError`` for a value out of range."""

    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """``auto`` until :meth:`on_this_machine` replaces it."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes of one cell."""
    threads: int = 1
    """Compute threads of a CPU worker, always 1."""
    accumulation: Annotated[
        int, Field(ge=1, description="Parts that a worker's batch is computed in, to save memory.")
    ] = 1
    grad_checkpointing: Annotated[
        bool, Field(description="Compute activations again in the backward pass, to save memory; not for ResNets.")
    ] = False
    compile: Annotated[bool, Field(description="Compile the image encoders with torch.compile.")] = False
    data: str | None = None
    """The data root, for tasks that need one."""
    checkpoint_every: Annotated[int, Field(ge=0, description="Steps between further checkpoints; 0: only by time.")] = 0
    checkpoint_minutes: CheckpointMinutes = CHECKPOINT_MINUTES
    feature_cache: Annotated[
        str | None,
        Field(description="Folder of features, heads, drawings: ~/.cache/carft/features, or none to store nothing."),
    ] = None
    feature_cache_size: Annotated[
        float, Field(gt=0, description="Largest size of that folder in GiB; what does not fit is computed each time.")
    ] = 10.0
    feature_writes: bool = True
    """Whether features are stored that the folder lacks; a sweep's confirm cells only read, since no other cell of
    their method has their seed."""
    cells_per_gpu: Annotated[int, Field(ge=1, le=MOST_CELLS_PER_GPU)] = 1
    """Cells that share the GPU; it changes the duration of a cell and nothing else."""
    decoders: Annotated[int, Field(ge=0)] = 0
    """Threads that decode images in each worker; 0 takes one for each core that the process may use. A sweep divides
    the cores of a node among its cells."""

    @property
    def root(self) -> Path | None:
        """The data root as a path."""
        return None if self.data is None else Path(self.data)

    @property
    def cache(self) -> ArrayCache | None:
        """The disk cache of features, heads and drawings; None without one."""
        if self.feature_cache is None:
            return None
        from carft.core.array_cache import GIB, ArrayCache  # numpy takes longer to import than many commands run

        return ArrayCache(Path(self.feature_cache), int(self.feature_cache_size * GIB))

    def on_this_machine(self) -> Execution:
        """The same execution with the device that this machine has; ``UserError`` for a GPU that it does not have."""
        import torch

        available: Literal["cpu", "cuda"] = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and available == "cpu":
            raise UserError("There is no GPU on this machine.", "Leave --device out to run on the CPU.")
        if self.device == "auto":
            return replace(self, device=available)
        return self

    def prepare(self) -> None:
        """Set up this process: compute and decoding threads, and deterministic kernels, for the same bits each time.

        One and two CPU threads give different bits, and two one-thread cells are faster than one two-thread cell.
        """
        import torch

        from carft.data.decoding import decoders, set_decoders

        torch.set_num_threads(self.threads)
        set_decoders(self.decoders)
        if self.compile:
            from carft.training.compiling import set_up_compiler

            set_up_compiler(decoders(), Path(self.feature_cache) / "compiled" if self.feature_cache else None)
        if self.device == "cuda":
            use_repeatable_cublas()
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.allow_tf32 = False  # no TensorFloat-32 in a float32 record
            torch.backends.cuda.enable_cudnn_sdp(False)  # the backward pass of its attention differs from run to run
            torch.set_float32_matmul_precision("highest")
        else:
            keep_freed_memory()
        # with warn_only, flash and memory-efficient attention keep a backward pass that differs from run to run
        torch.use_deterministic_algorithms(True, warn_only=False)
        # deterministic mode would also fill every new tensor with NaN, which takes time
        deterministic: Any = torch.utils.deterministic  # whose stubs lack the setting
        deterministic.fill_uninitialized_memory = False
