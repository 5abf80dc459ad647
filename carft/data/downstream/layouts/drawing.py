"""Shared by the fixtures of the layouts: fake images of every class, split by split. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from carft.data.fixtures import picture
from carft.data.sets import DataSet

#: images of each class in a fixture; training needs at least two, so that one can be held out
COUNTS = {"train": 3, "val": 1, "test": 1}
SIDE = 24


def drawings(data_set: DataSet) -> Iterator[tuple[str, int, int, Image.Image]]:
    """Yield (split, label, number within the label from 1, image), split by split."""
    for position, split in enumerate(data_set.counts):
        for label in range(len(data_set.classes)):
            for i in range(COUNTS[split]):
                number = 1 + sum(COUNTS[s] for s in list(data_set.counts)[:position]) + i
                yield split, label, number, picture(label, 0, number, SIDE)


def save(image: Image.Image, path: Path) -> None:
    """Write a JPEG and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a text file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def planes(image: Image.Image, side: int) -> np.ndarray:
    """Return an image as (3, side, side) uint8."""
    return np.asarray(image.resize((side, side))).transpose(2, 0, 1)
