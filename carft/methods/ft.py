"""Plain fine-tuning: cross-entropy alone. Also the frame that every other trained method fills in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from carft.data.task import ImageSet
from carft.models.clip import Pretrained
from carft.models.network import Network, Prompts
from carft.spec.cell import Cell

Row = dict[str, float]


@dataclass(frozen=True)
class Batch:
    """What a loss may use: the network being trained, normalised images (B, 3, H, W), labels (B,), class logits (B, C)
    and L2-normalised features (B, D).

    frozen: gives the L2-normalised features (B, D) of the same images under the pretrained model, without gradient.
    Ask for them here and nowhere else: they may come from a store instead of a forward pass.
    step: number of the update, from 0; what a loss draws at random is a function of (cell's seed, step).
    """

    network: Network
    images: torch.Tensor
    labels: torch.Tensor
    logits: torch.Tensor
    features: torch.Tensor
    frozen: Callable[[], torch.Tensor]
    step: int = 0


@dataclass(frozen=True)
class Fitting:
    """What a method is handed to fit a network.

    images: the training images. features: gives L2-normalised features (N, D) of images under the network as it is,
    without augmentation, on the CPU. descend: runs the training loop on the method's loss and returns its history.
    """

    network: Network
    images: ImageSet
    features: Callable[[ImageSet], torch.Tensor]
    descend: Callable[[], list[Row]]


class FineTune:
    """Loss = mean cross-entropy of the class logits. Also the parent of every other trained method."""

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        self.cell = cell
        self.pretrained = pretrained
        self.prompts = prompts

    def fit(self, fitting: Fitting) -> list[Row]:
        """Fit ``fitting.network`` in place, by gradient descent on the loss; returns the history."""
        return fitting.descend()

    def before_evaluation(self, network: Network) -> None:
        """Called before every validation: make ``network.head`` what the model as it is now classifies with."""

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, a scalar mean over the batch, and its named parts to log."""
        return F.cross_entropy(batch.logits, batch.labels), {}
