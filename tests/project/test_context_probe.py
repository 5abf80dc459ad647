"""The context probe: it names contexts that features hold, wherever the prompts are, and none that they do not hold."""

from __future__ import annotations

import math

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


def test_every_context_counts_alike_and_unknown_ones_do_not_count() -> None:
    probe = ContextProbe.fitted(*features(3.0, 400, seed=1), CONTEXTS, 1e-4)
    shown, contexts = features(3.0, 10, seed=2)
    told = torch.zeros(10, dtype=torch.int64)
    told[9] = 1  # one image of context 1, nine that are called context 0
    expected = ((contexts[:9] == 0).float().mean() + float(contexts[9] == 1)) / 2
    assert math.isclose(probe.recognition(shown, told), float(expected), abs_tol=1e-6)
    assert probe.recognition(shown, torch.where(contexts == 0, -1, contexts)) == 1.0
    assert math.isnan(probe.recognition(shown, torch.full((10,), -1)))
