"""Predictions of a network on an image set, on one worker or on several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from carft.core.metrics import Predictions, merge_classes
from carft.data.task import ImageSet
from carft.models.clip import Pretrained
from carft.models.heads import context_logits
from carft.models.network import Network, Prompts, forward
from carft.training.distributed import WorkerRank


@torch.inference_mode()
def predict_each(
    networks: Sequence[Network],
    images: ImageSet,
    pretrained: Pretrained,
    prompts: Prompts,
    precision: str = "float32",
    view: str = "centre",
) -> list[Predictions]:
    """Class and context logits of every image under each network, without augmentation; view: the cell's ``eval_view``.

    Every image is decoded once; each network has the bits that it has alone. Context logits are those of the known
    contexts at the pretrained scale, whatever the reading, so that all cells are measured in the same way. Several
    workers share the images, and every worker returns the predictions of all images.
    """
    worker = WorkerRank.current()
    mine = np.arange(worker.rank, len(images), worker.workers)
    logits: list[list[torch.Tensor]] = [[] for _ in networks]
    contexts: list[list[torch.Tensor]] = [[] for _ in networks]
    for outputs in forward(networks, images, mine, pretrained, precision, view):
        for number, (features, class_logits) in enumerate(outputs):
            logits[number].append(class_logits.cpu())
            contexts[number].append(context_logits(features, prompts.known, pretrained.scale, 1.0).float().cpu())
    return [
        Predictions(
            images=images.names,
            groups=images.groups,
            labels=images.labels.numpy(),
            contexts=images.contexts.numpy(),
            logits=merge_classes(_gathered(own, len(prompts.classes), len(images), worker), images.merged),
            context_logits=_gathered(of_contexts, len(prompts.known), len(images), worker),
            subset=images.subset,
        )
        for own, of_contexts in zip(logits, contexts, strict=True)
    ]


def _gathered(parts: list[torch.Tensor], width: int, count: int, worker: WorkerRank) -> np.ndarray:
    """All rows (N, width), in the order of the set, from the rows of every worker."""
    mine = torch.cat(parts).numpy() if parts else np.zeros((0, width), np.float32)
    if worker.workers == 1:
        return mine
    shares: list[Any] = [None] * worker.workers
    dist.all_gather_object(shares, mine)
    whole = np.empty((count, width), np.float32)
    for rank, share in enumerate(shares):
        whole[rank :: worker.workers] = share
    return whole
