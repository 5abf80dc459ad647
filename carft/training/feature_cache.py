"""The pretrained model's features of augmented training images, cached on disk.

The pretrained model never changes, and the augmentation of an image is a function of (seed, epoch, index) alone. So
these features are the same for every trial, method, reading and template list of a seed, and are computed once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from carft import NUMERICS
from carft.core.array_cache import ArrayCache, key_of
from carft.models.clip import Pretrained
from carft.models.precision import autocast
from carft.spec.cell import Cell
from carft.spec.training import OPTIONAL
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank


def _optional(cell: Cell) -> list[str]:
    """What else the images of an epoch depend on; empty for a recipe without optional settings."""
    used = {name: value for name, value in cell.training.as_dict().items() if name in OPTIONAL}
    return [f"{name} {value}" for name, value in used.items()] + [f"epochs {cell.training.epochs}"] * ("steps" in used)


class FeatureCache:
    """L2-normalised features of the pretrained model, read from the store, or computed by a forward pass.

    compiled: whether the image encoder goes through torch.compile, as the trained one then does; otherwise the KL term
    at the first step would measure the compiler. A batch that was just computed is used as it is stored, so a first and
    a later run have the same bits. Without a store every batch is computed. key: a hash of everything but the epoch
    that the features depend on.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        precision: str,
        store: ArrayCache | None = None,
        key: str = "",
        dtype: str = "float32",
        compiled: bool = False,
    ) -> None:
        self.pretrained = pretrained
        visual = pretrained.clip.visual
        self.visual: nn.Module = torch.compile(visual) if compiled else visual  # type: ignore[assignment]
        self.precision = precision
        self.store = store
        self.key = key
        self.dtype = np.dtype(dtype)
        self.begin_epoch(0, rows=0)

    @staticmethod
    def of(cell: Cell, context: CellContext) -> FeatureCache:
        """The cache of a cell's training images, shared by all cells that see the same crops."""
        execution, worker = context.execution, WorkerRank.current()
        if execution.feature_cache is None:
            return FeatureCache(context.pretrained, cell.precision, compiled=execution.compile)
        names = hashlib.sha256("\n".join(context.task.train.names).encode()).hexdigest()
        depends_on = {
            "weights": context.pretrained.digest,
            "model": cell.model,
            "task": [cell.task, cell.data_version, names],
            "augmentation": [cell.seed, cell.training.crop, context.pretrained.side, *_optional(cell)],
            "batch": [cell.training.batch_size, worker.rank, worker.workers, execution.accumulation],
            "computed": [cell.precision, execution.feature_dtype, execution.device, torch.__version__, NUMERICS],
            **({"compiled": True} if execution.compile else {}),
        }
        store = ArrayCache(Path(execution.feature_cache))
        key, dtype = key_of(depends_on), execution.feature_dtype
        return FeatureCache(context.pretrained, cell.precision, store, key, dtype, execution.compile)

    def begin_epoch(self, epoch: int, rows: int) -> None:
        """Start an epoch. rows: how many images this worker computes in the whole epoch."""
        self.rows = rows
        self.entry = f"{self.key}-{epoch}"
        self.known: np.ndarray | None = None
        self.fresh: np.memmap | None = None
        self.looked = False
        self.filled = 0

    def end_epoch(self) -> None:
        """Store the features of the epoch, if all of them were computed."""
        if self.store is not None and self.fresh is not None:
            if self.filled == self.rows:
                self.store.commit(self.entry, self.fresh)
            else:
                self.store.discard(self.fresh)
        self.fresh = None

    def features(self, images: torch.Tensor, position: int) -> torch.Tensor:
        """(B, D) float32 of normalised images (B, 3, H, W). position: how many images this worker computes before them
        in the epoch. Call it at most once per batch."""
        if self.store is None:
            return self.forward(images)
        span = slice(position, position + len(images))
        if not self.looked:
            self.looked = True
            self.known = self.store.read(self.entry, self.rows, self.pretrained.width, self.dtype)
        if self.known is not None:
            return torch.from_numpy(np.array(self.known[span], dtype=np.float32)).to(images.device)
        features = self.forward(images)
        if self.fresh is None:
            try:
                self.fresh = self.store.open(self.entry, self.rows, features.shape[1], self.dtype)
            except OSError:  # without the folder the features are computed, which takes longer
                self.store = None
                return features
        self.fresh[span] = features.cpu().numpy()
        self.filled += len(images)
        if self.dtype == np.float32:
            return features
        return torch.from_numpy(np.array(self.fresh[span], dtype=np.float32)).to(images.device)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, D) float32 by a forward pass of the pretrained model."""
        with autocast(images.device.type, self.precision):
            features = self.visual(images)
        return F.normalize(features.float(), dim=-1)
