"""Image files that are decoded on access."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from carft.core.errors import UserError
from carft.data.decoding import MOST_PIXELS, decode_pixels
from carft.data.index import rows_of
from carft.data.shards import open_image_file

#: first bytes of a JPEG file
SIGNATURE = b"\xff\xd8"
#: marker, length and, in a segment that starts a frame, bits, height and width
FRAME = struct.Struct(">BBHBHH")
#: markers of segments that start a frame, and of segments without a length
STARTS_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
NO_LENGTH = {0x00, 0x01, *range(0xD0, 0xDA), 0xFF}
#: what the samples of a comparison are saved with: subsampling of colours, quality, scans
KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("RGB", {"subsampling": 0, "quality": 85}),
    ("RGB", {"subsampling": 1, "quality": 85}),
    ("RGB", {"subsampling": 2, "quality": 85}),
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
            pixels = decode_by_torchvision(stream.getvalue()).permute(1, 2, 0).numpy()
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
        with open_image_file(path) as stream:
            if stream.read(len(SIGNATURE)) != SIGNATURE:
                return None
            data = SIGNATURE + stream.read()
        return decode_by_torchvision(data) if 0 < _pixels_in_header(data) <= MOST_PIXELS else None
    except (OSError, RuntimeError, UserError):
        return None


def _pixels_in_header(data: bytes) -> int:
    """Return the pixels of a JPEG file by its header; 0 where the header is not the usual chain of segments.

    Pillow reads the same in ten times the time, which is a fifth of that of decoding a small image.
    """
    place = len(SIGNATURE)
    while place + FRAME.size <= len(data):
        first, marker, length, _, height, width = FRAME.unpack_from(data, place)
        if first != 0xFF or marker in NO_LENGTH:
            return 0
        if marker in STARTS_OF_FRAME:
            return width * height
        place += 2 + length
    return 0


def decode_by_torchvision(data: bytes) -> torch.Tensor:
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
