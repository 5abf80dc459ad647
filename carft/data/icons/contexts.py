"""The contexts of the icons world: how a drawing is painted.

Each context has one painter, a pure function ``(stencil, rng) -> image``. The stencil holds the placed glyph; the
painter colours it. The prompts are in :mod:`carft.data.icons.world`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

SIDE = 64

Array = np.ndarray
Generator = np.random.Generator


@dataclass(frozen=True)
class Placement:
    """Position and size of the glyph on the canvas."""

    low: float = 0.62
    """Smallest side, as a share of the canvas."""
    high: float = 0.85
    """Largest side, as a share of the canvas."""
    copies: int = 1
    """Copies per row and column."""
    jitter: float = 0.06
    """Largest shift, as a share of a copy's cell."""


@dataclass(frozen=True)
class Context:
    """A context: its painter and placement."""

    paint: Callable[[Array, Generator], Array]
    placement: Placement = Placement()


def soft_noise(rng: Generator, cells: int, low: float, high: float) -> Array:
    """Return smooth colour noise, (SIDE, SIDE, 3) float32 in [low, high]."""
    grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    image = Image.fromarray(grid).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return low + (high - low) * np.asarray(image, np.float32) / 255


def colour(rng: Generator, low: float = 0.0, high: float = 1.0) -> Array:
    """Return a random colour, (3,) float32 in [low, high]."""
    return rng.uniform(low, high, 3).astype(np.float32)


def away_from(background: Array, rng: Generator, gap: float = 0.38) -> Array:
    """Return a random colour whose brightness differs from the mean background by at least ``gap``."""
    level = float(background.mean())
    tint = colour(rng) - 0.5
    target = level + gap if level < 0.5 else level - gap
    return np.clip(target + 0.55 * (tint - tint.mean()), 0, 1).astype(np.float32)


def over(background: Array, ink: Array, stencil: Array) -> Array:
    """Composite ink over background by the stencil (SIDE, SIDE) in [0, 1]."""
    return background + stencil[..., None] * (ink - background)


def filtered(stencil: Array, *filters: ImageFilter.Filter) -> Array:
    """Return the stencil after PIL filters, float32 in [0, 1]."""
    image = Image.fromarray((stencil * 255).astype(np.uint8))
    for each in filters:
        image = image.filter(each)
    return np.asarray(image, np.float32) / 255


def edges(stencil: Array) -> Array:
    """Return the outline of the stencil, about two pixels wide."""
    return np.clip(filtered(stencil, ImageFilter.MaxFilter(3)) - filtered(stencil, ImageFilter.MinFilter(3)), 0, 1)


def photo(stencil: Array, rng: Generator) -> Array:
    """Return a scene with light from above: the background darkens downwards, the object is lit at its top."""
    background = soft_noise(rng, 4, *sorted(rng.uniform(0.2, 0.8, 2)))
    light = np.linspace(0.16, -0.16, SIDE, dtype=np.float32)[:, None, None]
    background = np.clip(background + light, 0, 1)
    return over(background, np.clip(away_from(background, rng) + 0.6 * light, 0, 1), stencil)


def upside_down(stencil: Array, rng: Generator) -> Array:
    return photo(stencil, rng)[::-1, ::-1]


def black_and_white(stencil: Array, rng: Generator) -> Array:
    return np.repeat(photo(stencil, rng).mean(-1, keepdims=True), 3, axis=-1)


def bright(stencil: Array, rng: Generator) -> Array:
    return 1 - 0.42 * (1 - photo(stencil, rng)) ** 1.2


def dark(stencil: Array, rng: Generator) -> Array:
    return 0.30 * photo(stencil, rng)


def silhouette(stencil: Array, rng: Generator) -> Array:
    sky = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    top, bottom = colour(rng, 0.55, 1.0), colour(rng, 0.55, 1.0)
    return over(top + sky * (bottom - top), np.full(3, 0.02, np.float32), stencil)


def cartoon(stencil: Array, rng: Generator) -> Array:
    flat = np.zeros((SIDE, SIDE, 3), np.float32) + np.round(colour(rng, 0.3, 1.0) * 3) / 3
    outlined = over(flat, np.zeros(3, np.float32), filtered(stencil, ImageFilter.MaxFilter(5)))
    vivid = np.zeros(3, np.float32) + 0.1
    vivid[rng.permutation(3)[: rng.integers(1, 3)]] = 1.0
    return over(outlined, vivid, stencil)


def painting(stencil: Array, rng: Generator) -> Array:
    image = Image.fromarray((photo(stencil, rng) * 255).astype(np.uint8)).filter(ImageFilter.MedianFilter(5))
    bristles = np.repeat(rng.normal(0, 0.07, (SIDE // 2, SIDE // 8)).astype(np.float32), 2, axis=0)
    strokes = np.repeat(bristles, 8, axis=1)
    return np.clip(np.round(np.asarray(image, np.float32) / 255 * 6) / 6 + strokes[..., None], 0, 1)


def neon(stencil: Array, rng: Generator) -> Array:
    tube = edges(stencil)
    glow = filtered(tube, ImageFilter.GaussianBlur(3))
    hue = np.full(3, 0.15, np.float32)
    hue[rng.permutation(3)[: rng.integers(1, 3)]] = 1.0
    return np.clip(0.03 + glow[..., None] * hue * 1.1 + tube[..., None] * (0.6 * hue + 0.4), 0, 1)


def pixelated(stencil: Array, rng: Generator) -> Array:
    cells = int(rng.integers(14, 19))
    image = Image.fromarray((photo(stencil, rng) * 255).astype(np.uint8)).resize((cells, cells), Image.Resampling.BOX)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.NEAREST), np.float32) / 255


def sketch(stencil: Array, rng: Generator) -> Array:
    paper = 0.95 - 0.03 * rng.random((SIDE, SIDE, 1), dtype=np.float32)
    pressure = 0.55 + 0.45 * rng.random((SIDE, SIDE), dtype=np.float32)
    return over(np.repeat(paper, 3, -1), np.full(3, rng.uniform(0.1, 0.35), np.float32), edges(stencil) * pressure)


def chalk(stencil: Array, rng: Generator) -> Array:
    board = np.array([0.10, 0.22, 0.16], np.float32) * rng.uniform(0.8, 1.2) + soft_noise(rng, 6, -0.03, 0.05)
    grain = (rng.random((SIDE, SIDE), dtype=np.float32) < 0.62) * np.clip(0.45 * stencil + edges(stencil), 0, 1)
    return np.clip(over(board, np.full(3, 0.92, np.float32), grain), 0, 1)


def camouflaged(stencil: Array, rng: Generator) -> Array:
    palette = np.stack([colour(rng, 0.2, 0.7) for _ in range(3)])
    blotches = (soft_noise(rng, 11, 0, 0.999).mean(-1) * 9).astype(int) % 3
    image = palette[blotches]
    lift = rng.choice([-1, 1]) * rng.uniform(0.17, 0.24)
    return np.clip(over(image, image + lift, stencil), 0, 1)


def noisy(stencil: Array, rng: Generator) -> Array:
    grain = rng.normal(0, 0.22, (SIDE, SIDE, 3)).astype(np.float32)
    return np.clip(photo(stencil, rng) + grain, 0, 1)


def blurry(stencil: Array, rng: Generator) -> Array:
    image = Image.fromarray((photo(stencil, rng) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(2.0, 2.8))), np.float32) / 255


#: in the order of :data:`carft.data.icons.world.PROMPTS`
CONTEXTS: dict[str, Context] = {
    "photo": Context(photo),
    "black-and-white": Context(black_and_white),
    "bright": Context(bright),
    "silhouette": Context(silhouette),
    "cartoon": Context(cartoon),
    "painting": Context(painting),
    "neon": Context(neon),
    "pixelated": Context(pixelated),
    "sketch": Context(sketch),
    "chalk": Context(chalk),
    "camouflaged": Context(camouflaged),
    "dark": Context(dark),
    "noisy": Context(noisy),
    "blurry": Context(blurry),
    "upside-down": Context(upside_down),
    "close-up": Context(photo, Placement(1.3, 1.6, jitter=0.12)),
    "small": Context(photo, Placement(0.27, 0.37, jitter=0.28)),
    "many": Context(photo, Placement(0.80, 0.95, copies=2, jitter=0.03)),
}
