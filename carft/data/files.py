"""Image files that are decoded on access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from carft.data.columns import rows_of
from carft.data.decoding import decode_pixels
from carft.data.jpeg import jpeg_pixels


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
