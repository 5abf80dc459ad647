"""Image files as arrays of RGB pixels. No torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from carft.core.errors import UnreadableImage

#: decoding threads; Pillow releases the interpreter lock while it decodes
DECODERS = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
ImageFile.LOAD_TRUNCATED_IMAGES = False  # a truncated image is an error


def decode_pixels(path: Path, border: int = 0) -> np.ndarray:
    """Return an image file as (H, W, 3) uint8 RGB: its first frame. As in torchvision, EXIF orientation is ignored.

    16-bit and CMYK files are converted. Transparent pixels get a white background. border: pixels that are cut from
    every side. Raises ``UnreadableImage`` if the file cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(_rgb(image))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableImage(
            f"The image '{path}' cannot be read: {error}.",
            "Replace it with a complete copy, or leave unreadable images out, on record, with --skip-unreadable.",
        ) from error
    return pixels[border:-border, border:-border] if border else pixels


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image, dtype=np.float64)
        return Image.fromarray(np.clip(wide / 257, 0, 255).round().astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
