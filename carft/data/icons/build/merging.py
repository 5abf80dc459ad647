"""From glyphs to drawings: contradictory ones are dropped, near-duplicates merged, similar cuts thinned out."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field

import numpy as np
import resvg_py
from PIL import Image, ImageFilter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from carft.data.icons.drawings import GLYPH_SIDE, LEVELS

_RENDERED_SIDE = 192
_COMPARED_SIDE = 24


def alpha(svg: str) -> np.ndarray | None:
    """Return the ink of a glyph, cropped and centred, (GLYPH_SIDE, GLYPH_SIDE) uint8 in [0, LEVELS); None if empty."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=_RENDERED_SIDE, skip_system_fonts=True))
    ink = Image.open(io.BytesIO(png)).convert("RGBA").getchannel("A")
    box = ink.getbbox()
    if box is None:
        return None
    ink = ink.crop(box)
    side = max(ink.size)
    square = Image.new("L", (side, side), 0)
    square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    small = np.asarray(square.resize((GLYPH_SIDE, GLYPH_SIDE), Image.Resampling.BOX), np.float32)
    return np.rint(small / 255 * (LEVELS - 1)).astype(np.uint8)


def comparable(mask: np.ndarray) -> np.ndarray:
    """Return a small, slightly blurred copy of an alpha mask, float32 (side * side,) in [0, 1]."""
    image = Image.fromarray((mask * (255 // (LEVELS - 1))).astype(np.uint8))
    small = image.resize((_COMPARED_SIDE, _COMPARED_SIDE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.5))
    return np.asarray(small, np.float32).ravel() / 255


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the soft intersection over union of each row of a (n, d) with each row of b (m, d), (n, m)."""
    low = np.stack([np.minimum(row, b).sum(-1) for row in a])
    total = a.sum(-1)[:, None] + b.sum(-1)[None]
    return low / np.maximum(total - low, 1e-6)


SAME_DRAWING_IOU = 0.80
"""Two drawings of one foundry and class are one from this overlap of any two of their cuts."""
SAME_PIXELS_IOU = 0.90
"""The same for two foundries, and for glyphs of two classes that contradict each other."""
SAME_CUT_IOU = 0.85
"""Of cuts that overlap more than this, the drawings file keeps one."""
MAX_CUTS = 3


@dataclass
class Found:
    """A drawing as its name has it, before merging."""

    name: str
    """``<foundry>/<base name>``."""
    task: str
    class_name: str
    cuts: list[str] = field(default_factory=list)
    """``<collection>:<glyph>``."""
    alphas: list[np.ndarray] = field(default_factory=list)
    """One alpha mask a cut."""
    small: list[np.ndarray] = field(default_factory=list)
    """One mask for comparisons a cut."""

    @property
    def foundry(self) -> str:
        """Return the foundry, the part of the name before the slash."""
        return self.name.split("/")[0]


def without_contradictions(found: list[Found]) -> list[Found]:
    """Return the drawings none of whose cuts has nearly the pixels of a cut of another class."""
    stack = np.concatenate([f.small for f in found])
    owner = np.repeat(np.arange(len(found)), [len(f.cuts) for f in found])
    unit = stack / np.linalg.norm(stack, axis=1, keepdims=True)
    bad: set[int] = set()
    for start in range(0, len(unit), 2000):
        rows, columns = np.nonzero(unit[start : start + 2000] @ unit.T > 0.93)
        for i, j in zip(rows + start, columns, strict=True):
            a, b = int(owner[i]), int(owner[j])
            if i >= j or found[a].class_name == found[b].class_name:
                continue
            if overlap(stack[i : i + 1], stack[j : j + 1])[0, 0] > SAME_PIXELS_IOU:
                bad |= {a, b}
    return [f for i, f in enumerate(found) if i not in bad]


def groups(found: list[Found]) -> list[list[Found]]:
    """Return the drawings of one class in groups of near-duplicates. Merging is transitive."""
    stack = np.concatenate([f.small for f in found])
    owner = np.repeat(np.arange(len(found)), [len(f.cuts) for f in found])
    foundry = np.array([f.foundry for f in found])[owner]
    limit = np.where(foundry[:, None] == foundry[None], SAME_DRAWING_IOU, SAME_PIXELS_IOU)
    rows, columns = np.nonzero(overlap(stack, stack) > limit)
    links = coo_matrix((np.ones(len(rows)), (owner[rows], owner[columns])), shape=(len(found), len(found)))
    count, label = connected_components(links, directed=False)
    return [[f for f, own in zip(found, label, strict=True) if own == k] for k in range(count)]


def merged(group: list[Found]) -> Found:
    """Return the group as one drawing: the name of its first member and its most different cuts, at most MAX_CUTS."""
    first = group[0]
    drawing = Found(first.name, first.task, first.class_name)
    for member in group:
        for cut, mask, small in zip(member.cuts, member.alphas, member.small, strict=True):
            near = drawing.small and overlap(small[None], np.stack(drawing.small)).max() > SAME_CUT_IOU
            if not near and len(drawing.cuts) < MAX_CUTS:
                drawing.cuts.append(cut)
                drawing.alphas.append(mask)
                drawing.small.append(small)
    return drawing


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
