"""From a network and an image set to predictions."""

from __future__ import annotations

import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from carft.cell import Reading
from carft.data.task import ImageSet
from carft.heads import context_logits
from carft.metrics import Predictions
from carft.models import Pretrained
from carft.network import Network, Prompts

#: on CPU the fastest with two processes side by side: 64 keeps a layer's activations in the cache
BATCH = 64


def fitted(images: torch.Tensor, side: int) -> torch.Tensor:
    """uint8 images (B, 3, H, H) at the model's input side (B, 3, side, side), bicubic as CLIP resizes."""
    if images.shape[-1] == side:
        return images
    return tv.resize(images, [side, side], interpolation=InterpolationMode.BICUBIC, antialias=True)


@torch.inference_mode()
def predict(
    network: Network, images: ImageSet, pretrained: Pretrained, prompts: Prompts, reading: Reading
) -> Predictions:
    """Class and context logits of every image, without augmentation."""
    device = next(network.parameters()).device
    logits, contexts = [], []
    for part in images.images.split(BATCH):
        class_logits, features = network(pretrained.normalise(fitted(part, pretrained.side).to(device)))
        logits.append(class_logits.float().cpu())
        context = context_logits(features, prompts.contexts, pretrained.scale, reading.context_temperature)
        contexts.append(context.float().cpu())
    return Predictions(
        images=images.names,
        groups=images.groups,
        labels=images.labels.numpy(),
        contexts=images.contexts.numpy(),
        logits=torch.cat(logits).numpy(),
        context_logits=torch.cat(contexts).numpy(),
    )
