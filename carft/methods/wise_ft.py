"""WiSE-FT: interpolation in weight space (Wortsman et al., arXiv 2109.01903)."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def interpolate(
    pretrained: Mapping[str, torch.Tensor], tuned: Mapping[str, torch.Tensor], alpha: float
) -> dict[str, torch.Tensor]:
    """theta = (1 - alpha) * theta_0 + alpha * theta_1 for every floating tensor, class head and bias included.

    alpha 0 and 1 give the ends bit for bit. Raises ``ValueError`` unless both hold the same tensors.
    """
    if pretrained.keys() != tuned.keys():
        raise ValueError(f"the weights differ in {sorted(pretrained.keys() ^ tuned.keys())}")
    ends = {0.0: pretrained, 1.0: tuned}
    if alpha in ends:
        return dict(ends[alpha])
    return {
        name: torch.lerp(start, tuned[name], alpha) if start.is_floating_point() else start
        for name, start in pretrained.items()
    }
