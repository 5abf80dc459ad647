"""Plain fine-tuning: cross-entropy alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from carft.cell import Cell
from carft.models import Pretrained
from carft.network import Network, Prompts


@dataclass(frozen=True)
class Batch:
    """What a loss may use: the network being trained, normalised images (B, 3, H, W), labels (B,), class logits (B, C)
    and L2-normalised features (B, D)."""

    network: Network
    images: torch.Tensor
    labels: torch.Tensor
    logits: torch.Tensor
    features: torch.Tensor


class FineTune:
    """Loss = mean cross-entropy of the class logits. Also the parent of every other trained method."""

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        self.cell = cell
        self.pretrained = pretrained
        self.prompts = prompts

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, a scalar mean over the batch, and its named parts to log."""
        return F.cross_entropy(batch.logits, batch.labels), {}
