"""Image files that are decoded on access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

from carft.core.errors import UnreadableImage, UserError

ImageFile.LOAD_TRUNCATED_IMAGES = False  # a truncated image is an error


@dataclass(frozen=True)
class Files:
    """Image files in row order."""

    paths: tuple[Path, ...]
    border: int = 0
    """Pixels that are cut from every side. ObjectNet's images have a red frame."""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return (3, H, W) uint8 RGB. Raises ``UnreadableImage`` if the file cannot be decoded."""
        return decode(self.paths[index], self.border)

    def rows(self, index: Sequence[int]) -> Files:
        """Return the files of these rows, in this order."""
        return Files(tuple(self.paths[i] for i in index), self.border)


def decode(path: Path, border: int = 0) -> torch.Tensor:
    """Return an image file as (3, H, W) uint8 RGB: its first frame. As in torchvision, EXIF orientation is ignored.

    16-bit and CMYK files are converted. Transparent pixels get a white background. Raises ``UnreadableImage`` if the
    file cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(_rgb(image))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableImage(
            f"The image '{path}' cannot be read: {error}.",
            "Replace it with a complete copy, or leave unreadable images out, on record, with --skip-unreadable.",
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
    """Return path -> reason for every file that cannot be decoded. Reads all files."""
    found = {}
    for path in paths:
        try:
            decode(path)
        except UserError as refusal:
            found[path] = refusal.message
    return found
