"""The module that is fine-tuned: image encoder and class head; text side, context head and scale stay frozen."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from carft.data.card import STANDARD, Card
from carft.models.clip import Pretrained
from carft.models.heads import class_head, context_head
from carft.spec.cell import ClassHead


@dataclass(frozen=True)
class Prompts:
    """The frozen text side: W_cls (C, D), W_ctx (K, D) of the loss, and that of the known contexts, (L, D)."""

    classes: torch.Tensor
    contexts: torch.Tensor
    known: torch.Tensor

    @staticmethod
    def of(pretrained: Pretrained, card: Card, bank: str = STANDARD) -> Prompts:
        """Encode the card's prompts. bank: which context templates the loss uses; recognition always uses the card's.

        Without known contexts ``known`` is the loss's head, so that p_ctx is on record all the same.
        """
        encode = cache(lambda templates: pretrained.text_features(card.classes, templates))
        loss = context_head(encode(card.bank(bank)))
        known = context_head(encode(card.contexts)) if card.contexts else loss
        return Prompts(class_head(encode(card.templates)), loss, known)


class Network(nn.Module):
    """Image encoder, class head A (C, D) and bias b (C,). logits = outer * (v @ A.T) + b, v L2-normalised features.

    By default A starts at scale * W_cls and outer is 1: the scale is folded into the weight, as in WiSE-FT; with the
    scale outside, AdamW would move the head about 20 times more. The other heads are readings (``Reading.class_head``).
    """

    def __init__(self, visual: nn.Module, prompts: Prompts, scale: float, kind: ClassHead = "trained", seed: int = 0):
        super().__init__()
        self.visual = visual
        count, width = prompts.classes.shape
        device = prompts.classes.device
        self.outer = scale if kind == "scale-outside" else 1.0
        self.frozen_head = kind == "frozen"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(width, count).to(device)
        with torch.no_grad():
            self.head.bias.zero_()
            if kind != "random":
                self.head.weight.copy_(prompts.classes if kind == "scale-outside" else scale * prompts.classes)

    @staticmethod
    def of(pretrained: Pretrained, prompts: Prompts, kind: ClassHead = "trained", seed: int = 0) -> Network:
        """A trainable copy at zero-shot (unless the head is random), channels last: 1.4 times faster on CPU."""
        network = Network(copy.deepcopy(pretrained.clip.visual), prompts, pretrained.scale, kind, seed)
        convert_conv2d_weight_memory_format(network, torch.channels_last)
        network.requires_grad_(True)
        network.head.requires_grad_(not network.frozen_head)
        return network.eval()

    def train(self, mode: bool = True) -> Network:
        """Stay in eval mode: dropout is off and BatchNorm keeps its pretrained statistics, in every method.

        With batch statistics the KL is about 3 at step 0 instead of 0 on the built-in model, and a batch in two shards
        gives another loss than the batch in one.
        """
        return super().train(False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised images (B, 3, H, W) to class logits (B, C) and L2-normalised features (B, D), both float32."""
        features = F.normalize(self.visual(images).float(), dim=-1)
        with torch.autocast(images.device.type, enabled=False):  # logits of scale 100 do not fit bfloat16's 8 bits
            logits = self.head(features)
        return (logits if self.outer == 1 else self.outer * logits), features
