"""Search ranges of the learning rate by the size of a model. No torch.

The published rate of CLIP ViT-B/16 is 3e-5 (WiSE-FT, arXiv 2109.01903; 86 million parameters). The built-in model of
1.4 million parameters needs rates that are ten to thirty times as large. Each size has the range around what is known
of its kind, and the range between them overlaps with both.
"""

from __future__ import annotations

#: (parameters of the image encoder below which the range holds, lowest rate, highest rate)
BY_SIZE: tuple[tuple[float, float, float], ...] = (
    (10e6, 1e-4, 3e-3),
    (50e6, 1e-5, 1e-3),
    (float("inf"), 3e-6, 1e-4),
)


def learning_rates(parameters: int) -> tuple[float, float]:
    """Return the lowest and the highest learning rate of a search, for an image encoder of so many parameters."""
    return next((low, high) for most, low, high in BY_SIZE if parameters < most)
