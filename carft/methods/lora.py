"""LoRA: low-rank updates of the attention of both towers (Hu et al., 2106.09685; for CLIP: Zanella, Ben Ayed)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.core.rng import TEMPLATES, generator
from carft.data.task import ImageSet
from carft.methods.ft import Batch, FineTune, HistoryRow
from carft.models.clip import Pretrained
from carft.models.heads import class_head
from carft.models.network import Network, Prompts, autocast

#: rank of an update, and what it is multiplied by: alpha / r of the paper with alpha = r
RANK, SCALE = 4, 1.0


class LowRank(nn.Module):
    """W + SCALE * B A for each of the matrices that are stacked in W (P * D, width). A is drawn, B starts at 0."""

    def __init__(self, stacked: torch.Tensor, parts: int, draws: torch.Generator) -> None:
        super().__init__()
        height, width = len(stacked) // parts, stacked.shape[1]
        bound = 1 / math.sqrt(width)  # Kaiming's with a = sqrt(5), as of the authors' code
        drawn = torch.rand(parts, RANK, width, generator=draws) * 2 - 1
        self.down = nn.Parameter(bound * drawn.to(stacked.device))
        self.up = nn.Parameter(torch.zeros(parts, height, RANK, device=stacked.device))

    def forward(self, frozen: torch.Tensor) -> torch.Tensor:
        return frozen + SCALE * (self.up @ self.down).reshape(frozen.shape)


class LowRankAdaptation(FineTune):
    """Loss = CE of the logits s * V W_cls^T, W_cls of the current text tower under one template, drawn for each step.

    Trained: the low-rank updates of query, key and value in every attention of image encoder and text tower, nothing
    else. Before every validation the class head is set to s * W_cls under all templates, with bias 0. At the end the
    updates are added to the weights, so that a cell's network is one like any other.
    """

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        super().__init__(cell, pretrained, prompts)
        card = prompts.card
        rows = []
        for template in card.templates:
            rows.append(pretrained.tokenize([template.format(name) for name in card.classes]))
        self.tokens = torch.stack(rows).to(prompts.classes.device)  # (K, C, context length)
        self.text: Any = copy.deepcopy(pretrained.clip)
        self.text.visual = None
        self.adapters: list[nn.Parameter] = []

    def setup(self, network: Network, images: ImageSet) -> list[HistoryRow]:
        """Add the text tower and the updates to the network, so that checkpoints hold them."""
        network.add_module("text", self.text)
        network.requires_grad_(False)
        draws = torch.Generator().manual_seed(self.cell.seed)
        for tower in (network.visual, self.text):
            found = list(_attention_weights(tower))
            if not found:
                raise UserError("The image encoder has no attention that LoRA knows.", "Use a ViT or ResNet of CLIP.")
            for module, name, parts in found:
                update = LowRank(getattr(module, name), parts, draws)
                parametrize.register_parametrization(module, name, update)
                self.adapters += update.parameters()
        return []

    def trainable_parameters(self, network: Network) -> list[nn.Parameter]:
        return self.adapters

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        template = int(generator(self.cell.seed, batch.step, TEMPLATES).integers(0, len(self.tokens)))
        with autocast(batch.images.device.type, self.cell.precision):
            encoded = self.text.encode_text(self.tokens[template])
        logits = self.pretrained.scale * batch.features @ F.normalize(encoded.float(), dim=-1).T
        return F.cross_entropy(logits, batch.labels), {}

    @torch.no_grad()
    def before_evaluation(self, network: Network) -> None:
        encoded = [F.normalize(self.text.encode_text(row).float(), dim=-1) for row in self.tokens]
        network.head.weight.copy_(self.pretrained.scale * class_head(torch.stack(encoded)))
        network.head.bias.zero_()

    def teardown(self, network: Network) -> None:
        del network.text
        for module, name, _ in list(_attention_weights(network.visual)):
            parametrize.remove_parametrizations(module, name)
        network.requires_grad_(True)
        network.head.requires_grad_(not network.frozen_head)


def _attention_weights(tower: nn.Module) -> Iterator[tuple[nn.Module, str, int]]:
    """(module, name, number of matrices stacked in it) of the weights of query, key and value of every attention."""
    for module in tower.modules():
        if isinstance(module, nn.MultiheadAttention):
            yield module, "in_proj_weight", 3
        for name in ("q_proj", "k_proj", "v_proj"):
            projection = getattr(module, name, None)
            if isinstance(projection, nn.Linear):
                yield projection, "weight", 1
