"""Image files as arrays of RGB pixels. No torch."""

import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from carft.core.errors import UnreadableImage, UserError
from carft.core.machine import cores
from carft.data.shards import open_image_file

#: decoding threads of a process at most
MOST_DECODERS = 16
_given = 0
#: formats that are opened, by Pillow's names. Others can start programs: Pillow renders PostScript with Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
#: pixels of an image at most; the number above which Pillow warns
MOST_PIXELS = 89_478_485
TOO_LARGE = f"it has more than {MOST_PIXELS:,} pixels"
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # such an image is refused here
ImageFile.LOAD_TRUNCATED_IMAGES = False  # a truncated image is an error


def decoders() -> int:
    """Threads that decode images in this process; the interpreter lock is released while they decode."""
    return min(MOST_DECODERS, cores(), _given or MOST_DECODERS)


def set_decoders(count: int) -> None:
    """Set the number of decoding threads. count: at most; 0 for one for each core that this process may use."""
    global _given
    _given = count


def _opened(stream: IO[bytes]) -> Image.Image:
    """Open an image without decoding it. Raises ``ValueError`` for one of another format or that is too large."""
    try:
        image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(f"it is no {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(TOO_LARGE) from error
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(TOO_LARGE)
    return image


def decode_pixels(path: Path, border: int = 0) -> np.ndarray:
    """Return an image file as (H, W, 3) uint8 RGB: its first frame. As in torchvision, EXIF orientation is ignored.

    16-bit and CMYK files are converted. Transparent pixels get a white background. border: pixels that are cut from
    every side. Raises ``UnreadableImage`` if the file cannot be decoded.
    """
    try:
        with open_image_file(path) as stream, _opened(stream) as image:
            pixels = np.asarray(_rgb(image))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        why = error.message if isinstance(error, UserError) else f"{error}."
        raise UnreadableImage(
            f"The image '{path}' cannot be read: {why}",
            "Replace it with a complete copy. data check finds all such images.",
        ) from error
    return pixels[border:-border, border:-border] if border else pixels


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ValueError("its pixels have 32 bits, and their range is not known")
    if image.mode.startswith("I;16") or image.mode == "I":
        levels = (np.arange(2**16) / 257).round().astype(np.uint8)
        return Image.fromarray(levels.take(np.asarray(image), mode="clip")).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
