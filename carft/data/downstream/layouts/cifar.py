"""CIFAR-10 and CIFAR-100, the binary version: records of one or two label bytes and 3 x 32 x 32 pixels.

The Python version is a pickle, which is never loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carft.data.downstream.layouts.shared import damaged, drawings, index_of, lines, write_lines
from carft.data.sets import DataSet, Index

if TYPE_CHECKING:
    import torch

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Format:
    """The binary format of a version of CIFAR."""

    files: dict[str, tuple[str, ...]]
    """Split -> files."""
    label_bytes: int
    """Label bytes of a record; the last one is the class."""
    names: str
    """File with the class names."""


FORMATS = {
    "cifar10": Format(
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}, 1, "batches.meta.txt"
    ),
    "cifar100": Format({"train": ("train.bin",), "test": ("test.bin",)}, 2, "fine_label_names.txt"),
}


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return training and test images; the path of image 7 of a file is <file>/00007."""
    layout, names = FORMATS[data_set.name], classes(data_set, root)
    splits = {}
    for split, files in layout.files.items():
        rows = []
        for path in (root / data_set.folder / file for file in files):
            labels = _records(path, layout)[:, layout.label_bytes - 1]
            if len(labels) and labels.max() >= len(names):
                raise damaged(path)
            rows += [(path / f"{i:05d}", names[label]) for i, label in enumerate(labels)]
        splits[split] = rows
    return index_of(data_set, root, splits)


def pixels(data_set: DataSet, root: Path, index: Index) -> torch.Tensor:
    """Return the images of an index, (N, 3, 32, 32) uint8 RGB."""
    import torch

    layout = FORMATS[data_set.name]
    records = {file: _records(file, layout) for file in {path.parent for path in index.paths}}
    images = np.empty((len(index), 3, SIDE, SIDE), np.uint8)
    for row, path in enumerate(index.paths):
        images[row] = _planes(records[path.parent], int(path.name), layout)
    return torch.from_numpy(images)


def packed_picture(data_set: DataSet, path: Path) -> np.ndarray:
    """Return one image, (32, 32, 3) uint8 RGB. Raises ``CorruptFile`` if its file is damaged or ends before it."""
    layout = FORMATS[data_set.name]
    records, number = _records(path.parent, layout), int(path.name)
    if number >= len(records):
        raise damaged(path.parent)
    return _planes(records, number, layout).transpose(1, 2, 0)


def _planes(records: np.ndarray, number: int, layout: Format) -> np.ndarray:
    return records[number, layout.label_bytes :].reshape(3, SIDE, SIDE)


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the names in the file of class names."""
    return lines(root / data_set.folder / FORMATS[data_set.name].names)


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per class, split over all files."""
    layout, base = FORMATS[data_set.name], root / data_set.folder
    records: dict[str, list[bytes]] = {file: [] for files in layout.files.values() for file in files}
    for split, label, _, image in drawings(data_set):
        file = min(layout.files[split], key=lambda name: len(records[name]))
        planes = np.asarray(image.resize((SIDE, SIDE))).transpose(2, 0, 1)
        records[file].append(bytes(layout.label_bytes - 1) + bytes([label]) + planes.tobytes())
    for file, rows in records.items():
        (base / file).write_bytes(b"".join(rows))
    write_lines(base / layout.names, list(data_set.labels))


def _records(path: Path, layout: Format) -> np.ndarray:
    """(N, label bytes + 3072) uint8, memory-mapped."""
    size = layout.label_bytes + PIXELS
    count, rest = divmod(path.stat().st_size, size)
    if rest:
        raise damaged(path)
    return np.memmap(path, np.uint8, "r", shape=(count, size)) if count else np.empty((0, size), np.uint8)
