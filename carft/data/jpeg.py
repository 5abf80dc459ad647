"""JPEG files decoded by torchvision, which takes about a quarter less CPU time than Pillow, where the pixels agree.

Both have a copy of libjpeg-turbo, in versions of their own. So a process compares them before it uses torchvision's.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

#: first bytes of a JPEG file
SIGNATURE = b"\xff\xd8"
#: what the samples of a comparison are saved with: subsampling of colours, quality, scans
KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("RGB", {"subsampling": kind, "quality": 85}) for kind in range(3)),
    ("RGB", {"subsampling": 2, "quality": 30, "progressive": True}),
    ("L", {"quality": 85}),
    ("CMYK", {"quality": 85}),
)


@cache
def jpeg_decoder() -> Literal["torchvision", "pillow"]:
    """The decoder of JPEG files in this process: torchvision's if its pixels are Pillow's on a sample of every kind."""
    return "torchvision" if all(_agree(_sample(number)) for number in range(len(KINDS))) else "pillow"


def jpeg_pixels(path: Path) -> torch.Tensor | None:
    """(3, H, W) uint8 RGB of a JPEG file; None where Pillow is to decode it or to say why it cannot be decoded."""
    if jpeg_decoder() != "torchvision":
        return None
    try:
        with path.open("rb") as stream:
            data = stream.read()
        pixels = _torchvision(data) if data.startswith(SIGNATURE) else None
    except (OSError, RuntimeError):
        return None
    too_large = pixels is not None and pixels[0].numel() > (Image.MAX_IMAGE_PIXELS or pixels[0].numel())
    return None if too_large else pixels


def _torchvision(data: bytes) -> torch.Tensor:
    return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)


def _agree(data: bytes) -> bool:
    try:
        found = _torchvision(data).permute(1, 2, 0).numpy()
    except RuntimeError:
        return False
    with Image.open(io.BytesIO(data)) as image:
        return np.array_equal(found, np.asarray(image.convert("RGB")))


def _sample(number: int) -> bytes:
    """A small picture with smooth and sharp places, of a size that is no multiple of a block."""
    mode, options = KINDS[number]
    coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((97, 71), Image.Resampling.BICUBIC)
    image.paste((255, 0, 0), (30, 20, 61, 33))
    stream = io.BytesIO()
    image.convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()
