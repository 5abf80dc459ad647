"""Fixtures: fake images in the real layout of a data set, with a marker file. No torch."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image

#: marks a folder as a fixture; the loader of the real set reads it, but it is never attested
MARKER = "carft-fixture.json"
GOLDEN = 0.61803398875  # steps of the golden ratio give neighbouring labels different hues


def picture(label: int, domain: int = 0, number: int = 0, side: int = 32) -> Image.Image:
    """Return an RGB drawing (side, side) of stripes. The same arguments give the same pixels.

    The label sets hue and direction, the domain sets width and background, the number sets offset and noise.
    """
    rng = np.random.default_rng([label, domain, number])
    angle = np.pi * ((label * GOLDEN) % 1)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.sin(2 * np.pi * (2 + domain % 4) * (x * np.cos(angle) + y * np.sin(angle)) + 2 * np.pi * rng.random())
    colour = np.array(colorsys.hsv_to_rgb((label * GOLDEN) % 1, 0.9, 0.9))
    background = np.array(colorsys.hsv_to_rgb((domain * GOLDEN + 0.5) % 1, 0.3, 0.2 + 0.6 * (domain % 2)))
    pixels = np.where(waves[..., None] > 0, colour, background) + rng.normal(0, 0.04, (side, side, 3))
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


def is_fixture(folder: Path) -> bool:
    """Return whether the folder is marked as a fixture."""
    return (folder / MARKER).is_file()
