"""The pretrained model's features of augmented images: what CAR-FT and its kin compare the network with.

The pretrained model never changes, and the augmentation of an image is a function of (seed, epoch, index) alone. So
these features are the same for every trial, method, reading and set of templates of a seed: they are computed once
and kept on disk.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from carft.core.array_cache import ArrayCache
from carft.models.clip import Pretrained


class FeatureCache:
    """L2-normalised features of the pretrained model, from the store where they are there, else by a forward pass.

    What was computed is used as it is stored, so a first and a later run have the same bits. Without a store every
    batch that asks is computed. key: what decides the features besides the epoch.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        precision: str,
        store: ArrayCache | None = None,
        key: str = "",
        dtype: str = "float32",
    ) -> None:
        self.pretrained = pretrained
        self.precision = precision
        self.store = store
        self.key = key
        self.dtype = np.dtype(dtype)
        self.begin_epoch(0, rows=0)

    def begin_epoch(self, epoch: int, rows: int) -> None:
        """Say which epoch's augmentation the next batches hold, and how many images this worker has in it."""
        self.rows = rows
        self.entry = f"{self.key}-{epoch}"
        self.known: np.ndarray | None = None
        self.fresh: np.memmap | None = None
        self.looked = False
        self.filled = 0

    def end_epoch(self) -> None:
        """Keep what the epoch computed, if it is whole."""
        if self.store is not None and self.fresh is not None:
            if self.filled == self.rows:
                self.store.commit(self.entry, self.fresh)
            else:
                self.store.discard(self.fresh)
        self.fresh = None

    def __call__(self, images: torch.Tensor, position: int) -> torch.Tensor:
        """(B, D) float32 of normalised images (B, 3, H, W), this worker's images from number ``position`` of the epoch
        on."""
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
            except OSError:  # a folder that cannot be written costs time, not the cell
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
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            features = self.pretrained.clip.visual(images)
        return F.normalize(features.float(), dim=-1)
