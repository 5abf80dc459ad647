"""The context probe: it names contexts that features hold, wherever the prompts are, and none that they do not hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.context_probe import ContextProbe

CONTEXTS, WIDTH = 4, 16


def features(held: float, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, WIDTH) with contexts in turn. held: how much of the context their features have."""
    random = torch.Generator().manual_seed(seed)
    contexts = torch.arange(count) % CONTEXTS
    directions = torch.eye(WIDTH)[5 : 5 + CONTEXTS]
    noise = torch.randn(count, WIDTH, generator=random) / WIDTH**0.5
    return F.normalize(held * directions[contexts] + noise, dim=-1), contexts


def test_what_features_hold_is_read_and_what_they_lost_is_not() -> None:
    read = []
    for held in (3.0, 0.0):
        probe = ContextProbe.fitted(*features(held, 400, seed=1), CONTEXTS, 1e-4)
        read.append(probe.recognition(*features(held, 400, seed=2)))
    assert read[0] > 0.98
    assert abs(read[1] - 1 / CONTEXTS) < 0.1
