"""Images that stay on disk and are decoded when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

from carft.core.errors import UnreadableImage, UserError

ImageFile.LOAD_TRUNCATED_IMAGES = False  # half a picture is no picture


@dataclass(frozen=True)
class Files:
    """Image files in row order. border: pixels cut from every side first (ObjectNet's images have a red frame)."""

    paths: tuple[Path, ...]
    border: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """(3, H, W) uint8 RGB; ``UserError`` with the file's name when it cannot be decoded."""
        return decode(self.paths[index], self.border)

    def rows(self, index: Sequence[int]) -> Files:
        """The files of these rows, in this order."""
        return Files(tuple(self.paths[i] for i in index), self.border)


def decode(path: Path, border: int = 0) -> torch.Tensor:
    """An image file as (3, H, W) uint8 RGB: first frame, EXIF orientation left alone as torchvision leaves it.

    16-bit and CMYK files are converted, transparency is laid on white. ``UserError`` for what cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(_rgb(image))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableImage(
            f"The image '{path}' cannot be read: {error}.",
            "Put a whole copy in its place, or leave unreadable images out, on record, with --skip-unreadable.",
        ) from error
    if border:
        pixels = pixels[border:-border, border:-border]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image, dtype=np.float64)
        return Image.fromarray(np.clip(wide / 257, 0, 255).round().astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def unreadable(paths: Sequence[Path]) -> dict[Path, str]:
    """path -> reason for every file that cannot be decoded whole. Reads them all."""
    found = {}
    for path in paths:
        try:
            decode(path)
        except UserError as refusal:
            found[path] = refusal.message
    return found
