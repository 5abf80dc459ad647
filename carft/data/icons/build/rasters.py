"""Glyphs as pixels: an alpha mask for the drawings file and a small one for comparisons."""

from __future__ import annotations

import io

import numpy as np
import resvg_py
from PIL import Image, ImageFilter

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
