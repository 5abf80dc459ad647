"""The network that is fine-tuned: image encoder and class head. Text features, context head and scale are frozen."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from carft.config.settings import HALF_PRECISIONS, ClassHead
from carft.core.array_cache import array_digest
from carft.core.errors import UserError
from carft.data.card import STANDARD, Card
from carft.data.reference_views import EVAL_VIEWS
from carft.data.task import ImageSet
from carft.data.views import Feed
from carft.models.clip import Pretrained
from carft.models.heads import class_head, context_head


@dataclass(frozen=True)
class Prompts:
    """The frozen heads of a task's prompts."""

    card: Card
    """The task's card, which has the prompts."""
    classes: torch.Tensor
    """Class head W_cls (C, D)."""
    contexts: torch.Tensor
    """Context head W_ctx (K, D) of the loss."""
    known: torch.Tensor
    """Context head (L, D) of the known contexts, for context recognition."""

    @cached_property
    def digest(self) -> str:
        """Of the weights of all heads, as of :func:`carft.core.array_cache.array_digest`."""
        return array_digest(torch.cat([self.classes, self.contexts, self.known]).cpu().numpy())

    @staticmethod
    def of(pretrained: Pretrained, card: Card, bank: str = STANDARD) -> Prompts:
        """Encode the prompts of a task. bank: context templates of the loss.

        Context recognition always uses the known contexts. Without known contexts it uses the head of the loss, so that
        records always hold context logits.
        """
        encode = cache(lambda templates: pretrained.text_features(card.classes, templates))
        loss = context_head(encode(card.bank(bank)))
        known = loss
        if card.contexts:
            known = context_head(encode(card.contexts))
        return Prompts(card, class_head(encode(card.templates)), loss, known)


class Network(nn.Module):
    """Image encoder, class head A (C, D) and bias b (C,). logits = outer * (v @ A.T + b), v L2-normalised features.

    By default A starts at scale * W_cls and outer is 1, as in WiSE-FT. With the scale outside, AdamW moves the head
    about 20 times more. ``kind`` is the reading factor ``class_head``, ``seed`` that of a random head. The encoder is a
    trainable copy of the pretrained one. Channels last is 1.4 times faster on CPU.
    """

    def __init__(self, pretrained: Pretrained, prompts: Prompts, kind: ClassHead = "trained", seed: int = 0) -> None:
        super().__init__()
        self.visual = copy.deepcopy(pretrained.clip.visual)
        scale = pretrained.scale
        count, width = prompts.classes.shape
        self.outer, zero_shot = 1.0, scale * prompts.classes
        if kind == "scale-outside":
            self.outer, zero_shot = scale, prompts.classes
        self.frozen_head = kind == "frozen"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(width, count).to(prompts.classes.device)
        with torch.no_grad():
            self.head.bias.zero_()
            if kind != "random":
                self.head.weight.copy_(zero_shot)
        convert_conv2d_weight_memory_format(self, torch.channels_last)
        self.requires_grad_(True)
        self.head.requires_grad_(not self.frozen_head)
        self.eval()

    def train(self, mode: bool = True) -> Network:
        """Stay in eval mode in every method: no dropout, and BatchNorm uses its pretrained statistics.

        With batch statistics the KL of the built-in model is about 3 instead of 0 at step 0, and the loss depends on
        how workers share a batch.
        """
        return super().train(False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class logits (B, C) and L2-normalised features (B, D), both float32, of normalised images."""
        features = F.normalize(self.visual(images).float(), dim=-1)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 is too coarse for logits of scale 100
            logits = self.head(features)
        if self.outer != 1:
            logits = self.outer * logits
        return logits, features


def interpolate(
    pretrained: Mapping[str, torch.Tensor], tuned: Mapping[str, torch.Tensor], alpha: float
) -> dict[str, torch.Tensor]:
    """WiSE-FT: theta = (1 - alpha) * theta_0 + alpha * theta_1 for every floating tensor, class head and bias included.

    alpha 0 and 1 give the ends bit for bit. Raises ``ValueError`` unless both hold the same tensors.
    """
    if pretrained.keys() != tuned.keys():
        raise ValueError(f"the weights differ in {sorted(pretrained.keys() ^ tuned.keys())}")
    ends = {0.0: pretrained, 1.0: tuned}
    if alpha in ends:
        return dict(ends[alpha])
    mixed = {}
    for name, start in pretrained.items():
        mixed[name] = start
        if start.is_floating_point():
            mixed[name] = torch.lerp(start, tuned[name], alpha)
    return mixed


#: precision -> the type that autocast computes in
AUTOCAST: dict[str, torch.dtype] = {name: getattr(torch, name) for name in HALF_PRECISIONS}
#: oldest NVIDIA architecture with TensorFloat-32, as (major, minor)
AMPERE = (8, 0)


def autocast(device: str, precision: str) -> torch.autocast:
    """The autocast context of a precision; it does nothing for float32 and tf32. device: cpu or cuda."""
    return torch.autocast(device, AUTOCAST.get(precision, torch.bfloat16), enabled=precision in AUTOCAST)


def use_tf32(wanted: bool) -> None:
    """Whether matrix products and convolutions of this process may use TensorFloat-32 on a GPU."""
    torch.backends.cudnn.allow_tf32 = wanted
    torch.set_float32_matmul_precision("high" if wanted else "highest")


def require_precision(precision: str, device: str) -> None:
    """Raise ``UserError`` if a device cannot compute in a precision. device: cpu or cuda."""
    if precision != "tf32":
        return
    if device == "cpu":
        raise UserError("A CPU has no TensorFloat-32.", "Use --precision float32, which it computes anyway.")
    name = torch.cuda.get_device_name()
    capability = torch.cuda.get_device_capability()
    if capability < AMPERE:
        raise UserError(
            f"{name} has no TensorFloat-32: it needs compute capability 8.0 and has {capability[0]}.{capability[1]}.",
            "Use --precision float16 or float32.",
        )


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
    if rows is None:
        rows = np.arange(len(images))
    features = []
    for outputs in forward([network], images, rows, pretrained, precision, view):
        _, of_batch = outputs[0]
        features.append(of_batch.cpu())
    return torch.cat(features)


def forward(
    networks: Sequence[Network],
    images: ImageSet,
    rows: np.ndarray,
    pretrained: Pretrained,
    precision: str,
    view: str = "centre",
) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Class logits and features of every network, one batch of ``rows`` after another; each image is decoded once.

    view: the ``eval_view`` of the cell.
    """
    device = next(networks[0].parameters()).device
    size = BATCH[device.type]
    plan = [rows[first : first + size] for first in range(0, len(rows), size)]
    for pixels in Feed(images.images, plan, EVAL_VIEWS[view](pretrained.side), device):
        shown = pretrained.normalise(pixels)
        with autocast(device.type, precision):
            outputs = [network(shown) for network in networks]
        yield outputs
