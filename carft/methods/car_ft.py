"""CAR-FT: fine-tuning that keeps the context distribution near the pretrained one (arXiv 2211.16175)."""

from dataclasses import replace

import torch

from carft.config.settings import KlDirection
from carft.methods.ft import Batch, FineTune
from carft.models.heads import context_logits


def context_divergence(pretrained: torch.Tensor, tuned: torch.Tensor, direction: KlDirection) -> torch.Tensor:
    """KL between two context distributions, one value per image: (B,), in nats, at least 0.

    pretrained, tuned: (B, K) logits. direction: KL(pretrained || tuned), KL(tuned || pretrained) or their mean.
    The loss of CAR-FT is the mean over the batch (abstract of arXiv 2211.16175; the direction is a reading).
    """
    p, q = pretrained.log_softmax(-1), tuned.log_softmax(-1)
    forward = (p.exp() * (p - q)).sum(-1)
    if direction == "pretrained-to-tuned":
        return forward
    backward = (q.exp() * (q - p)).sum(-1)
    if direction == "tuned-to-pretrained":
        return backward
    return (forward + backward) / 2


def displacement(pretrained: torch.Tensor, tuned: torch.Tensor) -> torch.Tensor:
    """Mean over images of |v - v_0|, a scalar in [0, 2], without gradient. Both (B, D) and L2-normalised."""
    return (tuned.detach() - pretrained).norm(dim=-1).mean()


class ContextAwareFineTune(FineTune):
    """Loss = CE + kl_weight * mean_B KL(p_ctx(x; theta_0) || p_ctx(x; theta)).

    p_ctx(x; theta) = softmax(s / tau * v_theta(x) @ W_ctx.T). Direction and tau are fields of the cell's reading.
    At kl_weight 0 the term is not computed, so the run is plain fine-tuning bit for bit.
    Else every step logs the KL, and the displacement of the batch's features from the pretrained ones.
    """

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = super().loss(batch)
        weight = self.cell.hyperparameters["kl_weight"]
        if weight == 0:
            return loss, parts
        pretrained = batch.pretrained_features()
        target = self.target(replace(batch, pretrained_features=lambda: pretrained))
        divergence = self.divergence(target, batch.features).mean()
        logged = {"kl": divergence.detach(), "displacement": displacement(pretrained, batch.features)}
        return loss + weight * divergence, {**parts, **logged}

    def target(self, batch: Batch) -> torch.Tensor:
        """Features (B, D) of the pretrained model, whose context distribution is the target."""
        return batch.pretrained_features()

    def divergence(self, target: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """KL (B,) between the context distributions of target and features, both (B, D) and L2-normalised."""
        reading = self.cell.reading
        scale = self.pretrained.scale if reading.context_scale == "pretrained" else 1.0
        return context_divergence(
            context_logits(target, self.context_head(), scale, reading.context_temperature),
            context_logits(features, self.context_head(), scale, reading.context_temperature),
            reading.kl_direction,
        )

    def context_head(self) -> torch.Tensor:
        """W_ctx (K, D), frozen."""
        return self.prompts.contexts
