"""The contexts of the icons world: how a drawing is painted.

Each context has one painter of its name, a pure function ``(stencil, rng) -> image``, or is a photo with a placement of
its own. The stencil holds the placed glyph; the painter colours it. Worlds name the contexts that they show.
"""

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
    tilt: tuple[float, float] = (0, 0)
    """Smallest and largest turn in degrees, to either side, on top of the few degrees of every glyph."""
    upside_down: bool = False
    """Whether the finished image is turned around."""


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


def filtered(image: Array, *filters: ImageFilter.Filter) -> Array:
    """Return a stencil or an image after PIL filters, float32 in [0, 1]."""
    pixels = Image.fromarray((image * 255).astype(np.uint8))
    for each in filters:
        pixels = pixels.filter(each)
    return np.asarray(pixels, np.float32) / 255


def resized(image: Array, side: int, down: Image.Resampling, up: Image.Resampling) -> Array:
    """Return the image after resizing to ``side`` pixels and back, float32 in [0, 1]."""
    small = Image.fromarray((image * 255).astype(np.uint8)).resize((side, side), down)
    return np.asarray(small.resize((SIDE, SIDE), up), np.float32) / 255


def edges(stencil: Array) -> Array:
    """Return the outline of the stencil, about two pixels wide."""
    return np.clip(filtered(stencil, ImageFilter.MaxFilter(3)) - filtered(stencil, ImageFilter.MinFilter(3)), 0, 1)


def photo(stencil: Array, rng: Generator) -> Array:
    """Return a scene with light from above: the background darkens downwards, the object is lit at its top."""
    background = soft_noise(rng, 4, *sorted(rng.uniform(0.2, 0.8, 2)))
    light = np.linspace(0.16, -0.16, SIDE, dtype=np.float32)[:, None, None]
    background = np.clip(background + light, 0, 1)
    return over(background, np.clip(away_from(background, rng) + 0.6 * light, 0, 1), stencil)


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
    image = filtered(photo(stencil, rng), ImageFilter.MedianFilter(5))
    bristles = np.repeat(rng.normal(0, 0.07, (SIDE // 2, SIDE // 8)).astype(np.float32), 2, axis=0)
    strokes = np.repeat(bristles, 8, axis=1)
    return np.clip(np.round(image * 6) / 6 + strokes[..., None], 0, 1)


def neon(stencil: Array, rng: Generator) -> Array:
    tube = edges(stencil)
    glow = filtered(tube, ImageFilter.GaussianBlur(3))
    hue = np.full(3, 0.15, np.float32)
    hue[rng.permutation(3)[: rng.integers(1, 3)]] = 1.0
    return np.clip(0.03 + glow[..., None] * hue * 1.1 + tube[..., None] * (0.6 * hue + 0.4), 0, 1)


def pixelated(stencil: Array, rng: Generator) -> Array:
    cells = int(rng.integers(14, 19))
    return resized(photo(stencil, rng), cells, Image.Resampling.BOX, Image.Resampling.NEAREST)


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
    return filtered(photo(stencil, rng), ImageFilter.GaussianBlur(rng.uniform(2.0, 2.8)))


def low_resolution(stencil: Array, rng: Generator) -> Array:
    side = int(rng.integers(15, 25))
    return resized(photo(stencil, rng), side, Image.Resampling.BILINEAR, Image.Resampling.BILINEAR)


def jpeg(stencil: Array, rng: Generator) -> Array:
    """Return a photo whose blocks of eight pixels are blurred, shifted in colour or moved."""
    image = photo(stencil, rng)
    blocks = image.reshape(8, 8, 8, 8, 3).swapaxes(1, 2)
    coarse = blocks.mean((2, 3), keepdims=True)
    blocks = coarse + rng.uniform(0.3, 0.9, (8, 8, 1, 1, 1)) * (blocks - coarse) + rng.normal(0, 0.05, (8, 8, 1, 1, 3))
    row, shift = rng.integers(8), rng.integers(1, 7)
    blocks[row] = np.roll(blocks[row], shift, axis=0)
    return np.clip(blocks.swapaxes(1, 2).reshape(SIDE, SIDE, 3), 0, 1)


def grainy(stencil: Array, rng: Generator) -> Array:
    """Return a faded, warm photo with grain in brightness."""
    faded = 0.18 + 0.7 * photo(stencil, rng)
    grain = rng.normal(0, rng.uniform(0.06, 0.12), (SIDE, SIDE, 1)).astype(np.float32)
    return np.clip(faded * np.array([1.05, 0.98, 0.85], np.float32) + grain, 0, 1)


def foggy(stencil: Array, rng: Generator) -> Array:
    haze = 0.78 + soft_noise(rng, 4, -0.06, 0.06).mean(-1, keepdims=True)
    return haze + rng.uniform(0.22, 0.42) * (photo(stencil, rng) - haze)


def night(stencil: Array, rng: Generator) -> Array:
    """Return a dim blue photo with a few points of light."""
    image = photo(stencil, rng) * np.array([0.22, 0.27, 0.52], np.float32)
    lights = np.zeros((SIDE, SIDE), np.float32)
    lights[tuple(rng.integers(0, SIDE, (2, 9)))] = 1
    return np.clip(image + filtered(lights, ImageFilter.MaxFilter(3))[..., None] * np.array([1, 0.9, 0.6]), 0, 1)


def rainy(stencil: Array, rng: Generator) -> Array:
    streaks = (rng.random((SIDE + 8, SIDE + 8)) < 0.012).astype(np.float32)
    drops = np.max([np.roll(streaks, (step, step // 3), (0, 1)) for step in range(8)], axis=0)[8:, 8:]
    return np.clip(0.75 * photo(stencil, rng) + 0.35 * drops[..., None], 0, 1)


def behind_bars(stencil: Array, rng: Generator) -> Array:
    gap, start = rng.integers(11, 16), rng.integers(11)
    bars = ((np.arange(SIDE) + start) % gap < 4).astype(np.float32)
    return over(photo(stencil, rng), np.full(3, rng.uniform(0.0, 0.2), np.float32), np.tile(bars, (SIDE, 1)))


def dirty(stencil: Array, rng: Generator) -> Array:
    spots = np.clip((soft_noise(rng, 13, 0, 1)[..., 0] - rng.uniform(0.52, 0.62)) * 6, 0, 0.9)
    return over(photo(stencil, rng), np.array([0.30, 0.20, 0.08], np.float32), spots)


def relief(stencil: Array, rng: Generator) -> Array:
    """Return light from the upper left on the raised stencil, in about [-1, 1]."""
    height = filtered(stencil, ImageFilter.GaussianBlur(1.2))
    return np.clip(2.2 * (height - np.roll(height, (-2, -2), (0, 1))), -1, 1)


def sculpture(stencil: Array, rng: Generator) -> Array:
    stone = rng.uniform(0.5, 0.7) + rng.normal(0, 0.03, (SIDE, SIDE)).astype(np.float32)
    return np.clip((stone + 0.4 * relief(stencil, rng))[..., None] * np.array([1.0, 0.97, 0.9], np.float32), 0, 1)


def plastic(stencil: Array, rng: Generator) -> Array:
    """Return one saturated colour with a glossy rim and highlight, on white."""
    vivid = np.roll(np.array([0.95, rng.uniform(0.1, 0.7), 0.1], np.float32), rng.integers(3))
    shine = np.clip(relief(stencil, rng), 0, 1) * 0.8
    body = over(np.full((SIDE, SIDE, 3), 0.93, np.float32), vivid, stencil)
    return np.clip(body + (stencil * shine)[..., None] - 0.25 * np.clip(-relief(stencil, rng), 0, 1)[..., None], 0, 1)


def embroidered(stencil: Array, rng: Generator) -> Array:
    """Return diagonal stitches in two colours, on cloth with a weave."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    stitches = 0.72 + 0.28 * ((rows + columns) % 4 < 2) * ((rows - columns) % 8 < 6)
    weave = 0.9 + 0.1 * ((rows % 3 == 0) | (columns % 3 == 0))
    cloth = colour(rng, 0.35, 0.9)
    return np.clip(over(cloth * weave[..., None], away_from(cloth, rng) * stitches[..., None], stencil), 0, 1)


def graffiti(stencil: Array, rng: Generator) -> Array:
    """Return spray paint with a dark rim on a brick wall."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    joints = (rows % 8 == 0) | ((columns + 8 * (rows // 8 % 2)) % 16 == 0)
    wall = np.array([0.58, 0.30, 0.22], np.float32) * (1 + soft_noise(rng, 9, -0.15, 0.15))
    wall = np.where(joints[..., None], np.float32(0.68), wall)
    sprayed = filtered(stencil, ImageFilter.MaxFilter(5), ImageFilter.GaussianBlur(1.5))
    paint = np.roll(np.array([0.95, rng.uniform(0.3, 0.9), 0.25], np.float32), rng.integers(3))
    return np.clip(over(over(wall, np.zeros(3, np.float32), 0.8 * sprayed), paint, 0.9 * stencil), 0, 1)


def tattoo(stencil: Array, rng: Generator) -> Array:
    skin = np.array([0.88, 0.68, 0.55], np.float32) * rng.uniform(0.55, 1.05) * (1 + soft_noise(rng, 4, -0.08, 0.08))
    ink = np.clip(0.9 * filtered(edges(stencil), ImageFilter.GaussianBlur(0.6)) + 0.25 * stencil, 0, 1)
    return np.clip(over(skin, np.array([0.10, 0.16, 0.28], np.float32), ink), 0, 1)


def doodle(stencil: Array, rng: Generator) -> Array:
    """Return a wavy blue or black pen line on ruled paper."""
    waves = np.rint(1.5 * np.sin(np.arange(SIDE) / rng.uniform(3, 6) + rng.uniform(0, 6))).astype(int)
    bent = np.stack([np.roll(row, shift) for row, shift in zip(edges(stencil), waves, strict=True)])
    paper = np.full((SIDE, SIDE, 3), 0.97, np.float32)
    paper[rng.integers(10) :: 10] = [0.70, 0.80, 0.95]
    return over(paper, np.array([0.1, 0.1, rng.uniform(0.1, 0.7)], np.float32), bent)


def watercolour(stencil: Array, rng: Generator) -> Array:
    """Return pale paint that bleeds over its rim and pools at it, on paper."""
    bleeding = filtered(stencil, ImageFilter.GaussianBlur(2.0)) * (0.75 + soft_noise(rng, 9, -0.45, 0.25)[..., 0])
    pooled = np.clip(bleeding + 0.3 * edges(stencil), 0, 1)
    paper = 0.96 - 0.04 * rng.random((SIDE, SIDE, 1), dtype=np.float32)
    return np.clip(over(np.repeat(paper, 3, -1), colour(rng, 0.1, 0.7), pooled), 0, 1)


def blueprint(stencil: Array, rng: Generator) -> Array:
    lines = (np.arange(SIDE) % 8 == rng.integers(8)).astype(np.float32)
    grid = np.maximum(lines[:, None], lines[None]) * 0.22
    ink = np.clip(edges(stencil) + 0.12 * stencil, 0, 1)
    return over(
        np.array([0.10, 0.25, rng.uniform(0.5, 0.65)], np.float32), np.full(3, 0.95, np.float32), np.maximum(ink, grid)
    )


def mosaic(stencil: Array, rng: Generator) -> Array:
    """Return square tiles, each of one slightly different colour, with dark joints."""
    tiles = np.repeat(np.repeat(photo(stencil, rng)[2::4, 2::4] + rng.normal(0, 0.06, (16, 16, 3)), 4, 0), 4, 1)
    joint = np.arange(SIDE) % 4 == 3
    return np.clip(np.where((joint[:, None] | joint[None])[..., None], 0.12, tiles), 0, 1)


def newspaper(stencil: Array, rng: Generator) -> Array:
    """Return a halftone of dots on grey paper."""
    grey = filtered(photo(stencil, rng).mean(-1), ImageFilter.GaussianBlur(0.6))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    dots = 0.5 + 0.25 * (np.cos((rows + columns) * 1.25) + np.cos((rows - columns) * 1.25))
    return np.clip(0.82 - 0.72 * np.clip((dots - grey) * 5, 0, 1), 0, 1)[..., None] * np.array([1, 0.98, 0.92])


#: contexts that are photos with another placement
PLACEMENTS = {
    "upside-down": Placement(upside_down=True),
    "close-up": Placement(1.3, 1.6, jitter=0.12),
    "small": Placement(0.27, 0.37, jitter=0.28),
    "many": Placement(0.80, 0.95, copies=2, jitter=0.03),
    "tilted": Placement(tilt=(35, 70)),
}


def painter(context: str) -> Callable[[Array, Generator], Array]:
    """Return the painter of a context: the function above of its name, with ``_`` for ``-``."""
    return photo if context in PLACEMENTS else globals()[context.replace("-", "_")]
