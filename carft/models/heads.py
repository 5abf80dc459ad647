"""The class head and context head of a prompt bank, and the context distribution (docs/method.md).

Shapes: B images, K templates, C classes, D embedding dimensions. Every row is normalised by itself. Both heads agree
with the Lipsum-FT authors' code.
"""

import torch
import torch.nn.functional as F


def class_head(text: torch.Tensor) -> torch.Tensor:
    """W_cls (C, D): row c is the normalised mean over templates of text (K, C, D). Source: CLIP, prompt ensembling."""
    return F.normalize(text.mean(dim=0), dim=-1)


def context_head(text: torch.Tensor) -> torch.Tensor:
    """W_ctx (K, D): row k is the normalised mean over classes of text (K, C, D). Source: CAR-FT."""
    return F.normalize(text.mean(dim=1), dim=-1)


def context_logits(features: torch.Tensor, head: torch.Tensor, scale: float, temperature: float) -> torch.Tensor:
    """(B, K) logits s / tau * v @ W_ctx.T of L2-normalised features (B, D) and context head (K, D)."""
    return scale / temperature * features @ head.T
