"""SUN397, official partition 1: SUN397/<letter>/<class>/sun_*.jpg, and lists of /<letter>/<class>/<name>.jpg."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from carft.data.downstream.layouts.drawing import drawings, save, write_lines
from carft.data.downstream.layouts.reading import index_of, lines
from carft.data.fixtures import begin
from carft.data.sets import DataSet, Index

LISTS = {"train": "Training_01.txt", "test": "Testing_01.txt"}


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return training and test images of the partition."""
    data_set.require_present(root)
    base = root / data_set.folder
    splits = {
        split: [(base / name.lstrip("/"), name.rpartition("/")[0]) for name in lines(base / LISTS[split])]
        for split in data_set.counts
    }
    return index_of(data_set, root, splits)


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the names in ClassName.txt."""
    return lines(root / data_set.folder / "ClassName.txt")


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per class and split."""
    base = root / data_set.folder
    begin(base, data_set.name)
    names: dict[str, list[str]] = defaultdict(list)
    for split, label, number, image in drawings(data_set):
        names[split].append(f"{data_set.labels[label]}/sun_{label:03d}{number:02d}.jpg")
        save(image, base / names[split][-1].lstrip("/"))
    for split, listed in names.items():
        write_lines(base / LISTS[split], listed)
    write_lines(base / "ClassName.txt", list(data_set.labels))
