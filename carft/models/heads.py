"""The class head and context head of a prompt bank, and the context distribution (docs/method.md).

Shapes: B images, K templates, C classes, D embedding dimensions. Every row is normalised by itself. Both heads agree
with the Lipsum-FT authors' code.
"""

import torch
import torch.nn.functional as F

from carft.config.settings import Direction


def class_head(text: torch.Tensor) -> torch.Tensor:
    """W_cls (C, D): row c is the normalised mean over templates of text (K, C, D). Source: CLIP, prompt ensembling."""
    return F.normalize(text.mean(dim=0), dim=-1)


def context_head(text: torch.Tensor) -> torch.Tensor:
    """W_ctx (K, D): row k is the normalised mean over classes of text (K, C, D). Source: CAR-FT."""
    return F.normalize(text.mean(dim=1), dim=-1)


def context_logits(features: torch.Tensor, head: torch.Tensor, scale: float, temperature: float) -> torch.Tensor:
    """(B, K) logits s / tau * v @ W_ctx.T of L2-normalised features (B, D) and context head (K, D)."""
    return scale / temperature * features @ head.T


def context_divergence(pretrained: torch.Tensor, tuned: torch.Tensor, direction: Direction) -> torch.Tensor:
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
