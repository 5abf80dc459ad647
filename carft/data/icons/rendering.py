"""Rendering of images. Every image is a function of (drawing, context, index, world seed)."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from PIL import Image

from carft.data.icons.contexts import CONTEXTS, SIDE, Placement
from carft.data.icons.drawings import Cut, Drawing, glyph_image

WORLD_SEED = 1


@cache
def _glyph(cut: Cut) -> Image.Image:
    """Return the glyph on a square black (0) canvas of 96 pixels."""
    image = glyph_image(cut)
    if image is None:
        raise ValueError(f"{cut} of {cut.foundry} is an empty glyph: census and fonts do not match")
    side = max(image.size)
    square = Image.new("L", (side, side), 0)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.resize((96, 96), Image.Resampling.LANCZOS)


def generator(*key: object) -> np.random.Generator:
    """Return a generator seeded by a stable hash of the key. ``hash()`` differs between processes."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def _stencil(drawing: Drawing, placement: Placement, rng: np.random.Generator) -> np.ndarray:
    """Return the placed glyph as (SIDE, SIDE) float32 in [0, 1]."""
    cut = drawing.cuts[int(rng.integers(len(drawing.cuts)))]
    glyph = _glyph(cut).rotate(placement.turn + rng.uniform(-12, 12), Image.Resampling.BILINEAR, expand=True)
    cell = SIDE // placement.copies
    canvas = Image.new("L", (SIDE, SIDE), 0)
    side = max(6, round(cell * rng.uniform(placement.low, placement.high)))
    small = glyph.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    for row in range(placement.copies):
        for column in range(placement.copies):
            shift = rng.uniform(-placement.jitter, placement.jitter, 2) * cell
            left = round(column * cell + (cell - side) / 2 + shift[0])
            top = round(row * cell + (cell - side) / 2 + shift[1])
            canvas.paste(small, (left, top))
    return np.asarray(canvas, np.float32) / 255


def render(drawing: Drawing, context: str, index: int) -> np.ndarray:
    """Return image number ``index`` of a drawing in a context, (SIDE, SIDE, 3) uint8."""
    chosen = CONTEXTS[context]
    rng = generator(WORLD_SEED, drawing.name, context, index)
    stencil = _stencil(drawing, chosen.placement, rng)
    return np.rint(np.clip(chosen.paint(stencil, rng), 0, 1) * 255).astype(np.uint8)
