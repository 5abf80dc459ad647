"""Describable Textures, partition 1: dtd/dtd/images/<class>/<name>.jpg, and lists <class>/<name>.jpg per split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from carft.data.downstream.layouts.drawing import drawings, save, write_lines
from carft.data.downstream.layouts.reading import folders, index_of, lines
from carft.data.fixtures import begin
from carft.data.sets import DataSet, Index

PARTITION = 1


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return the three splits of the partition."""
    data_set.require_present(root)
    base = root / data_set.folder / "dtd"
    names = {split: lines(_list(base, split)) for split in data_set.counts}
    splits = {split: [(base / "images" / name, name.split("/")[0]) for name in names[split]] for split in names}
    return index_of(data_set, root, splits)


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the names of the class folders."""
    return folders(root / data_set.folder / "dtd" / "images")


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per class and split."""
    begin(root / data_set.folder, data_set.name)
    base = root / data_set.folder / "dtd"
    names: dict[str, list[str]] = defaultdict(list)
    for split, label, number, image in drawings(data_set):
        word = data_set.labels[label]
        names[split].append(f"{word}/{word}_{number:04d}.jpg")
        save(image, base / "images" / names[split][-1])
    for split, listed in names.items():
        write_lines(_list(base, split), listed)


def _list(base: Path, split: str) -> Path:
    return base / "labels" / f"{split}{PARTITION}.txt"
