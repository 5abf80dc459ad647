"""Forward passes over an image set, without augmentation and without gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from carft.data.feed import Feed
from carft.data.reference_views import EVAL_VIEWS
from carft.data.task import ImageSet
from carft.models.clip import Pretrained
from carft.models.network import Network
from carft.models.precision import autocast

#: images of one forward pass; on the CPU, 64 is the fastest for two processes side by side
BATCH = {"cpu": 64, "cuda": 512}


@torch.inference_mode()
def embed(
    network: Network,
    images: ImageSet,
    pretrained: Pretrained,
    precision: str = "float32",
    view: str = "centre",
    rows: np.ndarray | None = None,
) -> torch.Tensor:
    """L2-normalised features (N, D) of the images in these rows, by default of all, float32, on the CPU."""
    rows = np.arange(len(images)) if rows is None else rows
    return torch.cat([outputs[0][0].cpu() for outputs in forward([network], images, rows, pretrained, precision, view)])


def forward(
    networks: Sequence[Network],
    images: ImageSet,
    rows: np.ndarray,
    pretrained: Pretrained,
    precision: str,
    view: str = "centre",
) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Features and class logits of every network, one batch of ``rows`` after another; each image is decoded once.

    view: the ``eval_view`` of the cell.
    """
    device = next(networks[0].parameters()).device
    size = BATCH[device.type]
    plan = [rows[first : first + size] for first in range(0, len(rows), size)]
    for pixels in Feed(images.images, plan, EVAL_VIEWS[view](pretrained.side), device):
        shown = pretrained.normalise(pixels)
        with autocast(device.type, precision):
            answers = [network(shown) for network in networks]
        yield [(features, class_logits) for class_logits, features in answers]
