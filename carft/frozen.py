"""The pretrained model's features of augmented images: what CAR-FT and its kin compare the network with."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from carft.models import Pretrained


class Frozen:
    """L2-normalised features of the pretrained model, by a forward pass of each batch that asks for them."""

    def __init__(self, pretrained: Pretrained, precision: str) -> None:
        self.pretrained = pretrained
        self.precision = precision

    def begin_epoch(self, epoch: int) -> None:
        """Say which epoch's augmentation the next batches hold."""

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """(B, D) float32 of normalised images (B, 3, H, W), which are the rows (B,) of the training set."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            features = self.pretrained.clip.visual(images)
        return F.normalize(features.float(), dim=-1)
