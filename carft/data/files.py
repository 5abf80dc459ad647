"""Image files that are decoded on access."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from carft.data.decoding import decode_pixels
from carft.data.sets import rows_of

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
    """The decoder of JPEG files in this process: torchvision's if its pixels are Pillow's on a sample of every kind.

    A sample has smooth and sharp places, and a size that is no multiple of a block.
    """
    for number, (mode, options) in enumerate(KINDS):
        coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((97, 71), Image.Resampling.BICUBIC)
        image.paste((255, 0, 0), (30, 20, 61, 33))
        stream = io.BytesIO()
        image.convert(mode).save(stream, "JPEG", **options)
        try:
            pixels = _torchvision(stream.getvalue()).permute(1, 2, 0).numpy()
        except RuntimeError:
            return "pillow"
        with Image.open(stream) as decoded:
            if not np.array_equal(pixels, np.asarray(decoded.convert("RGB"))):
                return "pillow"
    return "torchvision"


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


@dataclass(frozen=True)
class Files:
    """Image files in row order."""

    paths: Sequence[Path]
    border: int = 0
    """Pixels that are cut from every side. ObjectNet's images have a red frame."""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return (3, H, W) uint8 RGB. Raises ``UnreadableImage`` if the file cannot be decoded."""
        return decode(self.paths[index], self.border)

    def rows(self, index: Sequence[int]) -> Files:
        """Return the files of these rows, in this order."""
        return Files(rows_of(self.paths, index), self.border)


def decode(path: Path, border: int = 0) -> torch.Tensor:
    """Return an image file as (3, H, W) uint8 RGB; see :func:`carft.data.decoding.decode_pixels`."""
    pixels = jpeg_pixels(path)
    if pixels is None:
        return torch.from_numpy(decode_pixels(path, border).copy()).permute(2, 0, 1)
    return pixels[:, border:-border, border:-border] if border else pixels
