"""Which split each drawing belongs to."""

from __future__ import annotations

import hashlib

import numpy as np

from carft.data.icons.build.merging import Found

#: foundries that only the suite ``hands`` shows
NEW_HANDS = frozenset(
    ["bi", "ri", "carbon", "lucide", "icon-park", "ionic", "majesticons", "teenyicons", "basil", "eva", "pixelarticons"]
)
MAX_PER_CLASS = 120
"""Drawings of a class that are dealt, without those of the new hands."""
SHARES = {"pretrain": 0.42, "train": 0.18, "val": 0.12, "test": 0.28}
"""Split -> share of the drawings of a class, without those of the new hands."""


def is_new_hand(drawing: Found) -> bool:
    """Return whether the drawing's foundry is kept for the suite ``hands``."""
    return drawing.foundry in NEW_HANDS


def order(drawing: Found) -> str:
    """Return a key that shuffles drawings the same way on every machine."""
    return hashlib.sha256(f"icons-2/{drawing.task}/{drawing.class_name}/{drawing.name}".encode()).hexdigest()


def dealt(drawings: list[Found]) -> list[tuple[Found, str]]:
    """Return the drawings of one class with their splits.

    Drawings are laid out by foundry and dealt in even steps, so that every foundry and every split gets its share. A
    class with many drawings is thinned in the same way.
    """
    hands = sorted((d for d in drawings if is_new_hand(d)), key=order)
    others = sorted((d for d in drawings if not is_new_hand(d)), key=lambda d: (d.foundry, order(d)))
    kept = np.linspace(0, len(others), min(len(others), MAX_PER_CLASS), endpoint=False).astype(int)
    others = [others[i] for i in kept]
    edges = np.cumsum(list(SHARES.values()))
    golden = (np.arange(len(others)) * 0.6180339887498949 + 0.5) % 1.0
    splits = [list(SHARES)[k] for k in np.searchsorted(edges / edges[-1], golden, side="right")]
    return [(d, "hands") for d in hands] + list(zip(others, splits, strict=True))
