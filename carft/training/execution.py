"""Where and how a cell ran: in the record, not in the cell's id."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from carft import NUMERICS, __version__
from carft.core.errors import UserError
from carft.training.hardware import hardware_name

#: settings of an execution that stand in every record; the others only where they are not the default
ALWAYS_RECORDED = ("device", "workers", "threads")
#: folders of this machine, which stand in no record: digests say what was in them
FOLDERS = ("data", "feature_cache")
PACKAGES = ("torch", "torchvision", "open_clip_torch", "numpy", "pillow", "ray", "optuna", "qtawesome", "iconipy")


@dataclass(frozen=True)
class Execution:
    """How a cell is computed on this machine.

    device: cpu or cuda. workers: processes of one cell. threads: compute threads of a CPU worker, always 1.
    accumulation: parts that a worker's share of a batch is computed in, one after another, to save memory.
    compile: through torch.compile. data: the data root, for tasks that need one. checkpoint_every: steps between
    checkpoints; 0 keeps none. skip_unreadable: leave out images that cannot be decoded, on record. feature_cache:
    folder of the pretrained model's features, of heads and of rendered drawings; None computes them each time.
    feature_dtype: what features are kept as; float16 takes half the space, and the loss then agrees to about 1e-3.
    cells_per_gpu: how many cells share the GPU; it changes how long this one takes, and nothing else.
    """

    device: str = "cpu"
    workers: int = 1
    threads: int = 1
    accumulation: int = 1
    compile: bool = False
    data: str | None = None
    checkpoint_every: int = 0
    skip_unreadable: bool = False
    feature_cache: str | None = None
    feature_dtype: str = "float32"
    cells_per_gpu: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1 or self.accumulation < 1 or self.checkpoint_every < 0:
            raise UserError("Workers and accumulation must be at least 1, steps between checkpoints at least 0.")
        if self.feature_dtype not in ("float32", "float16"):
            raise UserError(f"Features cannot be kept as '{self.feature_dtype}'.", "Known: float32, float16.")

    @property
    def root(self) -> Path | None:
        """The data root as a path."""
        return None if self.data is None else Path(self.data)

    @staticmethod
    def here(device: str = "auto", **settings: Any) -> Execution:
        """The execution on this machine; ``UserError`` when a GPU is asked for and there is none."""
        found = "cuda" if torch.cuda.is_available() else "cpu"
        if device not in ("auto", "cpu", "cuda"):
            raise UserError(f"There is no device '{device}'.", "Known: auto, cpu, cuda.")
        if device == "cuda" and found == "cpu":
            raise UserError("There is no GPU on this machine.", "Leave --device out to run on the CPU.")
        return Execution(found if device == "auto" else device, **settings)

    def prepare(self) -> None:
        """Set up this process so that the same cell gives the same bits: threads and deterministic kernels.

        One and two CPU threads give different bits, and two one-thread cells are faster than one two-thread cell.
        """
        torch.set_num_threads(self.threads)
        if self.device == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.allow_tf32 = False  # float32 in a record means float32
            torch.set_float32_matmul_precision("highest")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # deterministic mode also writes NaN into every fresh tensor: time for nothing
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set on the module


def provenance(execution: Execution, digests: dict[str, str]) -> dict[str, Any]:
    """Code and package versions, hardware, execution and data digests of a record."""
    plain = {f.name: f.default for f in fields(execution) if f.name not in ALWAYS_RECORDED}
    return {
        "numerics": NUMERICS,
        "carft": __version__,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "machine": hardware_name(execution.device),
        "execution": {k: v for k, v in asdict(execution).items() if k not in FOLDERS and v != plain.get(k)},
        "digests": digests,
    }


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
