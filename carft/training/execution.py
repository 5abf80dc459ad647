"""Where and how a cell is computed. The record holds it; the cell's id does not depend on it.

Torch is imported inside functions, so that a driver can build and send an ``Execution`` without it.
"""

from __future__ import annotations

import math
import platform
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from carft import NUMERICS, __version__
from carft.core.array_cache import GIB, ArrayCache
from carft.core.errors import UserError
from carft.data.decoding import set_decoders
from carft.training.device import use_repeatable_cublas
from carft.training.hardware import cpu_facts, hardware_name

#: settings of an execution that every record holds; a record holds the others only when they are not the default
ALWAYS_RECORDED = ("device", "workers", "threads")
#: no record holds these: folders of this machine, whose content digests identify, the use of the cache, and threads
#: that change no pixel
UNRECORDED = ("data", "feature_cache", "feature_cache_gib", "feature_writes", "decoders")
#: default of the largest size of the folder of features, in GiB
CACHE_GIB = ArrayCache.limit / GIB
#: minutes of training between checkpoints unless a recipe or an option says otherwise
CHECKPOINT_MINUTES = 10.0
PACKAGES = ("torch", "torchvision", "open_clip_torch", "numpy", "pillow", "ray", "optuna")


@dataclass(frozen=True)
class Execution:
    """How a cell is computed on this machine. Raises ``UserError`` for a value outside its range."""

    device: str = "cpu"
    """cpu or cuda; auto until :meth:`on_this_machine` replaces it."""
    workers: int = 1
    """Processes of one cell, at least 1."""
    threads: int = 1
    """Compute threads of a CPU worker, always 1."""
    accumulation: int = 1
    """Parts in which a worker computes its share of a batch, one after another, to save memory; at least 1."""
    grad_checkpointing: bool = False
    """Whether activations are computed again in the backward pass, to save memory; ResNets of CLIP cannot do it."""
    compile: bool = False
    """Whether the image encoders, trained and frozen, go through torch.compile."""
    data: str | None = None
    """The data root, for tasks that need one."""
    checkpoint_every: int = 0
    """Steps between checkpoints that are written inside a step, at least 0; 0 writes none of these."""
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    """Minutes of training between checkpoints that are written beside the steps, at least 0; 0 writes none of these."""
    skip_unreadable: bool = False
    """Whether images that cannot be decoded are left out; the record then says so."""
    feature_cache: str | None = None
    """Folder of pretrained features, heads and rendered drawings; None computes them each time."""
    feature_cache_gib: float = CACHE_GIB
    """Largest size of that folder in GiB, above 0."""
    feature_writes: bool = True
    """Whether features are stored that the folder lacks; a sweep's confirm cells only read, since no other cell of
    their method has their seed."""
    feature_dtype: str = "float32"
    """Type of cached features: float32, or float16, which takes half the space and changes the loss by about 1e-3."""
    cells_per_gpu: int = 1
    """Cells that share the GPU; it changes the duration of a cell and nothing else."""
    decoders: int = 0
    """Threads that decode images in each worker, at least 0; 0 takes one for each core that the process may use. A
    sweep divides the cores of a node among its cells."""

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise UserError(f"There is no device '{self.device}'.", "Known: auto, cpu, cuda.")
        if self.workers < 1 or self.accumulation < 1 or self.checkpoint_every < 0:
            raise UserError("Workers and accumulation must be at least 1, steps between checkpoints at least 0.")
        if not 0 <= self.checkpoint_minutes < math.inf:
            raise UserError("Minutes between checkpoints must be a number of at least 0.", "0 writes none.")
        if not 0 < self.feature_cache_gib < math.inf:
            raise UserError(
                f"The feature cache cannot have {self.feature_cache_gib:g} GiB.",
                "Give a number above 0, or turn it off: --feature-cache none",
            )
        if self.feature_dtype not in ("float32", "float16"):
            raise UserError(f"Features cannot be stored as '{self.feature_dtype}'.", "Known: float32, float16.")

    @property
    def writes_checkpoints(self) -> bool:
        """Whether cells that train write checkpoints."""
        return bool(self.checkpoint_every or self.checkpoint_minutes)

    @property
    def root(self) -> Path | None:
        """The data root as a path."""
        return None if self.data is None else Path(self.data)

    @property
    def cache(self) -> ArrayCache | None:
        """The disk cache of features, heads and drawings; None without one."""
        if self.feature_cache is None:
            return None
        return ArrayCache(Path(self.feature_cache), int(self.feature_cache_gib * GIB))

    def on_this_machine(self) -> Execution:
        """The same execution with the device that this machine has; ``UserError`` for a GPU that it does not have."""
        import torch

        available = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and available == "cpu":
            raise UserError("There is no GPU on this machine.", "Leave --device out to run on the CPU.")
        return replace(self, device=available) if self.device == "auto" else self

    def prepare(self) -> None:
        """Set up this process: compute and decoding threads, and deterministic kernels, for the same bits each time.

        One and two CPU threads give different bits, and two one-thread cells are faster than one two-thread cell.
        """
        import torch

        torch.set_num_threads(self.threads)
        set_decoders(self.decoders)
        if self.device == "cuda":
            use_repeatable_cublas()
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.allow_tf32 = False  # no TensorFloat-32 in a float32 record
            torch.backends.cuda.enable_cudnn_sdp(False)  # the backward pass of its attention differs from run to run
            torch.set_float32_matmul_precision("highest")
        # with warn_only, flash and memory-efficient attention keep a backward pass that differs from run to run
        torch.use_deterministic_algorithms(True, warn_only=False)
        # deterministic mode would also fill every new tensor with NaN, which takes time
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set on the module


def provenance(execution: Execution, digests: dict[str, str]) -> dict[str, Any]:
    """Code and package versions, hardware, execution and data digests of a record."""
    plain = {f.name: f.default for f in fields(execution) if f.name not in ALWAYS_RECORDED}
    return {
        "numerics": NUMERICS,
        "carft": __version__,
        "python": platform.python_version(),
        "packages": {name: installed for name in PACKAGES if (installed := _version(name))},
        "machine": hardware_name(execution.device),
        "cpu": cpu_facts(),
        "execution": {k: v for k, v in asdict(execution).items() if k not in UNRECORDED and v != plain.get(k)},
        "digests": digests,
    }


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
