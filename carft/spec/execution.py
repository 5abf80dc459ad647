"""The settings of an execution: where and how a cell is computed. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from carft.core.settings import Settings

#: cells that may share a GPU at most
MOST_CELLS_PER_GPU = 100
#: default of :data:`CheckpointMinutes`
CHECKPOINT_MINUTES = 10.0
CheckpointMinutes = Annotated[
    float, Field(ge=0, description="Minutes of training between checkpoints of a cell; 0: none; a recipe may differ.")
]


@dataclass(frozen=True)
class ExecutionSettings(Settings):
    """The fields of :class:`carft.training.execution.Execution`. Raises ``UserError`` for a value out of range."""

    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """``auto`` until :meth:`carft.training.execution.Execution.on_this_machine` replaces it."""
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
    checkpoint_every: Annotated[
        int, Field(ge=0, description="Also a checkpoint after every so many steps; 0: only by time.")
    ] = 0
    checkpoint_minutes: CheckpointMinutes = CHECKPOINT_MINUTES
    skip_unreadable: bool = False
    """Whether images that cannot be decoded are left out; the record then says so."""
    feature_cache: Annotated[
        str | None,
        Field(description="Folder of features, heads and drawings: ~/.cache/carft/features, or none to store nothing."),
    ] = None
    feature_cache_size: Annotated[
        float, Field(gt=0, description="Largest size of that folder in GiB; what does not fit is computed each time.")
    ] = 10.0
    feature_writes: bool = True
    """Whether features are stored that the folder lacks; a sweep's confirm cells only read, since no other cell of
    their method has their seed."""
    feature_dtype: Annotated[
        Literal["float32", "float16"],
        Field(description="Type of stored features; float16 takes half the space, the loss agrees to about 1e-3."),
    ] = "float32"
    cells_per_gpu: Annotated[int, Field(ge=1, le=MOST_CELLS_PER_GPU)] = 1
    """Cells that share the GPU; it changes the duration of a cell and nothing else."""
    decoders: Annotated[int, Field(ge=0)] = 0
    """Threads that decode images in each worker; 0 takes one for each core that the process may use. A sweep divides
    the cores of a node among its cells."""
