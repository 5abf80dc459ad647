"""CIFAR-10 and CIFAR-100, the binary version: records of one or two label bytes and 3 x 32 x 32 pixels.

The Python version is a pickle, which is never loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from carft.data.downstream.annotated import Annotated, Rows, damaged, read_lines, write_lines
from carft.data.sets import Index

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


class Cifar(Annotated):
    """A version of CIFAR. The path of image 7 of a file is <file>/00007."""

    packed: ClassVar[bool] = True

    @property
    def format(self) -> Format:
        """How its files are read."""
        return FORMATS[self.name]

    def rows(self, base: Path) -> Mapping[str, Rows]:
        names, found = read_lines(base / self.format.names), {}
        for split, files in self.format.files.items():
            rows = []
            for file in files:
                labels = self._records(base / file)[:, self.format.label_bytes - 1]
                if len(labels) and labels.max() >= len(names):
                    raise damaged(base / file)
                rows += [(f"{file}/{i:05d}", names[label]) for i, label in enumerate(labels)]
            found[split] = rows
        return found

    def pixels(self, index: Index) -> torch.Tensor:
        """Return the images of an index, (N, 3, 32, 32) uint8 RGB."""
        import torch

        records = {file: self._records(file) for file in {path.parent for path in index.paths}}
        images = np.empty((len(index), 3, SIDE, SIDE), np.uint8)
        for row, path in enumerate(index.paths):
            images[row] = self._planes(records[path.parent], int(path.name))
        return torch.from_numpy(images)

    def picture(self, file: Path, number: int) -> np.ndarray:
        """Return one image, (32, 32, 3) uint8 RGB. Raises ``CorruptFile`` if its file is damaged or ends before it."""
        records = self._records(file)
        if number >= len(records):
            raise damaged(file)
        return self._planes(records, number).transpose(1, 2, 0)

    def _planes(self, records: np.ndarray, number: int) -> np.ndarray:
        return records[number, self.format.label_bytes :].reshape(3, SIDE, SIDE)

    def _records(self, path: Path) -> np.ndarray:
        """(N, label bytes + 3072) uint8, memory-mapped."""
        size = self.format.label_bytes + PIXELS
        count, rest = divmod(path.stat().st_size, size)
        if rest:
            raise damaged(path)
        return np.memmap(path, np.uint8, "r", shape=(count, size)) if count else np.empty((0, size), np.uint8)

    def found_classes(self, root: Path) -> list[str]:
        return read_lines(root / self.folder / self.format.names)

    def draw(self, root: Path) -> None:
        """Write a few images per class, split over all files."""
        base = root / self.folder
        records: dict[str, list[bytes]] = {file: [] for files in self.format.files.values() for file in files}
        for split, label, _, image in self.drawings():
            file = min(self.format.files[split], key=lambda name: len(records[name]))
            planes = np.asarray(image.resize((SIDE, SIDE))).transpose(2, 0, 1)
            records[file].append(bytes(self.format.label_bytes - 1) + bytes([label]) + planes.tobytes())
        for file, rows in records.items():
            (base / file).write_bytes(b"".join(rows))
        write_lines(base / self.format.names, self.labels)
