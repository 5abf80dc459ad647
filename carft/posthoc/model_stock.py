"""Model Stock: where between the pretrained model and the mean of a few fine-tuned ones (Jang et al., 2403.19522)."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch

Weights = Mapping[str, torch.Tensor]


def model_stock(start: Weights, *tuned: Weights) -> dict[str, torch.Tensor]:
    """theta = t * mean + (1 - t) * theta_0, t = N cos / (1 + (N - 1) cos), for every floating tensor by itself.

    cos is the mean over pairs of the N >= 2 fine-tuned models of the cosine of their updates theta_i - theta_0, at
    least 0: models that have nothing in common give theta_0. A tensor that no model changed stays. Other tensors are
    those of theta_0.
    """
    merged = dict(start)
    for name, origin in start.items():
        if origin.is_floating_point():
            updates = [weights[name].double() - origin.double() for weights in tuned]
            share = _share(updates)
            merged[name] = (origin.double() + share * torch.stack(updates).mean(0)).to(origin.dtype)
    return merged


def _share(updates: Sequence[torch.Tensor]) -> float:
    """t of the updates of one tensor, in [0, 1]."""
    cosines = []
    for first, second in combinations(updates, 2):
        cosines.append(float(torch.cosine_similarity(first.flatten(), second.flatten(), dim=0)))
    cosine = max(sum(cosines) / len(cosines), 0.0)
    return len(updates) * cosine / (1 + (len(updates) - 1) * cosine)
