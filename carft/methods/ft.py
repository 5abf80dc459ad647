"""Plain fine-tuning, on cross-entropy alone. Also the base class of every trained method."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from carft.config.cell import Cell
from carft.data.task import ImageSet
from carft.models.clip import Pretrained
from carft.models.network import Network, Prompts

HistoryRow = dict[str, float]


@dataclass(frozen=True)
class Batch:
    """What a loss is computed from."""

    network: Network
    """The network that is trained."""
    images: torch.Tensor
    """Normalised images (B, 3, H, W)."""
    labels: torch.Tensor
    """Class indices (B,)."""
    logits: torch.Tensor
    """Class logits (B, C), float32."""
    features: torch.Tensor
    """L2-normalised features (B, D), float32."""
    pretrained_features: Callable[[], torch.Tensor]
    """Returns the L2-normalised features (B, D) of the same images under the pretrained model, without gradient. They
    are read from the feature cache or computed when this is called; a loss that does not call it pays nothing. Call it
    at most once per batch."""
    step: int = 0
    """Number of the update, from 0. A random draw of a loss is a function of (cell's seed, step)."""
    places: torch.Tensor | None = None
    """(B,) places of the images in the global batch; None if this batch is the whole global batch, in order."""
    whole: int | None = None
    """Number of images of the global batch; None if this batch is the whole global batch."""


class FineTune:
    """Loss = mean cross-entropy of the class logits.

    A method overrides some of these hooks. The training loop calls ``setup`` and ``trainable_parameters`` first, then
    ``loss`` on every batch, ``before_evaluation`` at the end of every epoch, and ``teardown`` last.
    """

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        self.cell = cell
        self.pretrained = pretrained
        self.prompts = prompts

    def setup(self, network: Network, images: ImageSet) -> list[HistoryRow]:
        """Prepare ``network`` for training on ``images``. Returns the history of a method that trains nothing."""
        return []

    def trainable_parameters(self, network: Network) -> list[nn.Parameter]:
        """The parameters that the optimiser updates. With an empty list there is no training after ``setup``."""
        return [p for p in network.parameters() if p.requires_grad]

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, a scalar mean over the batch, and its named parts to log."""
        return F.cross_entropy(batch.logits, batch.labels), {}

    def embed(self, batch: Batch) -> torch.Tensor:
        """(B, D) what :meth:`compare` needs of each image. Only of a method whose card says ``compares``."""
        raise NotImplementedError

    def compare(self, embedded: torch.Tensor) -> torch.Tensor:
        """The loss of a global batch from the embeddings (B, D) of all its images, in any order."""
        raise NotImplementedError

    def compared_parameters(self) -> list[nn.Parameter]:
        """The parameters that :meth:`compare` uses itself."""
        return []

    def before_evaluation(self, network: Network) -> None:
        """Set ``network.head`` before a validation, for a method that does not train it."""

    def teardown(self, network: Network) -> None:
        """Remove from ``network`` what ``setup`` added to it."""
