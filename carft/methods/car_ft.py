"""CAR-FT: fine-tuning that keeps the context distribution near the pretrained one (arXiv 2211.16175)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from carft.cell import Cell
from carft.heads import context_divergence, context_logits
from carft.methods.ft import Batch, FineTune
from carft.models import Pretrained
from carft.network import Prompts


class ContextAwareFineTune(FineTune):
    """Loss = CE + kl_weight * mean_B KL(p_ctx(x; theta_0) || p_ctx(x; theta)).

    p_ctx(x; theta) = softmax(s / tau * v_theta(x) @ W_ctx.T). Direction and tau are fields of the cell's reading.
    At kl_weight 0 the term is not computed, so the run is plain fine-tuning bit for bit.
    """

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        super().__init__(cell, pretrained, prompts)
        self.kl_weight = cell.hyperparameters["kl_weight"]

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = super().loss(batch)
        if self.kl_weight == 0:
            return loss, parts
        divergence = self.divergence(batch.images, batch.features).mean()
        return loss + self.kl_weight * divergence, {**parts, "kl": divergence.detach()}

    def divergence(self, images: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """KL of each image's context distribution from the pretrained model's, (B,)."""
        with torch.no_grad():
            frozen = F.normalize(self.pretrained.clip.visual(images), dim=-1)
        reading, head, scale = self.cell.reading, self.prompts.contexts, self.pretrained.scale
        return context_divergence(
            context_logits(frozen, head, scale, reading.context_temperature),
            context_logits(features, head, scale, reading.context_temperature),
            reading.kl_direction,
        )
