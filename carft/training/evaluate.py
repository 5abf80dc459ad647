"""From a network and an image set to predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from carft.core.metrics import Predictions, merge_classes
from carft.data.task import ImageSet
from carft.data.views import CentreView, batches
from carft.models.clip import Pretrained
from carft.models.heads import context_logits
from carft.models.network import Network, Prompts
from carft.training.distributed import WorkerRank

#: on CPU the fastest with two processes side by side: 64 keeps a layer's activations in the cache
BATCH = {"cpu": 64, "cuda": 512}


def predict(
    network: Network, images: ImageSet, pretrained: Pretrained, prompts: Prompts, precision: str = "float32"
) -> Predictions:
    """Class and context logits of every image, without augmentation.

    Context logits are those of the known contexts at the pretrained scale, whatever the reading, so that one ruler
    measures all. Several workers share the images, each image once, and all get the whole.
    """
    return predict_each([network], images, pretrained, prompts, precision)[0]


@torch.inference_mode()
def predict_each(
    networks: Sequence[Network],
    images: ImageSet,
    pretrained: Pretrained,
    prompts: Prompts,
    precision: str = "float32",
) -> list[Predictions]:
    """Predictions of several networks, bit for bit those of one after the other; every image is decoded once."""
    shard = WorkerRank.current()
    mine = np.arange(shard.rank, len(images), shard.workers)
    logits: list[list[torch.Tensor]] = [[] for _ in networks]
    contexts: list[list[torch.Tensor]] = [[] for _ in networks]
    for found in _forward(networks, images, mine, pretrained, precision):
        for number, (features, class_logits) in enumerate(found):
            logits[number].append(class_logits.cpu())
            contexts[number].append(context_logits(features, prompts.known, pretrained.scale, 1.0).float().cpu())
    return [
        Predictions(
            images=images.names,
            groups=images.groups,
            labels=images.labels.numpy(),
            contexts=images.contexts.numpy(),
            logits=merge_classes(_gathered(own, len(prompts.classes), len(images), shard), images.merged),
            context_logits=_gathered(of_contexts, len(prompts.known), len(images), shard),
            subset=images.subset,
        )
        for own, of_contexts in zip(logits, contexts, strict=True)
    ]


@torch.inference_mode()
def embed(network: Network, images: ImageSet, pretrained: Pretrained, precision: str = "float32") -> torch.Tensor:
    """L2-normalised features (N, D) float32 on the CPU of every image, without augmentation; each worker does all."""
    rows = np.arange(len(images))
    return torch.cat([found[0][0].cpu() for found in _forward([network], images, rows, pretrained, precision)])


def _forward(
    networks: Sequence[Network], images: ImageSet, rows: np.ndarray, pretrained: Pretrained, precision: str
) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Features and class logits of every network, batch by batch."""
    device = next(networks[0].parameters()).device
    size = BATCH[device.type]
    plan = [rows[first : first + size] for first in range(0, len(rows), size)]
    for pixels in batches(images.images, plan, CentreView(pretrained.side)):
        shown = pretrained.normalise(pixels.to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            answers = [network(shown) for network in networks]
        yield [(features, class_logits) for class_logits, features in answers]


def _gathered(parts: list[torch.Tensor], width: int, count: int, shard: WorkerRank) -> np.ndarray:
    """All rows (N, width) in order from every worker's share."""
    mine = torch.cat(parts).numpy() if parts else np.zeros((0, width), np.float32)
    if shard.workers == 1:
        return mine
    shares: list[Any] = [None] * shard.workers
    dist.all_gather_object(shares, mine)
    whole = np.empty((count, width), np.float32)
    for rank, share in enumerate(shares):
        whole[rank :: shard.workers] = share
    return whole
