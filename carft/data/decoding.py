"""Image files as arrays of RGB pixels. No torch."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from carft.core.errors import UnreadableImage
from carft.core.machine import cores

#: decoding threads of a process at most
MOST_DECODERS = 16
_given = 0
ImageFile.LOAD_TRUNCATED_IMAGES = False  # a truncated image is an error


def decoders() -> int:
    """Threads that decode images in this process; the interpreter lock is released while they decode."""
    return min(MOST_DECODERS, cores(), _given or MOST_DECODERS)


def set_decoders(count: int) -> None:
    """Set the number of decoding threads. count: at most; 0 for one for each core that this process may use."""
    global _given
    _given = count


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
