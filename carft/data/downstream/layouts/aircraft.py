"""FGVC-Aircraft by variant: data/images/<number>.jpg, and lists "<number> <variant>" per split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from carft.data.downstream.layouts.drawing import drawings, save, write_lines
from carft.data.downstream.layouts.reading import index_of, lines
from carft.data.fixtures import begin
from carft.data.sets import DataSet, Index


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return the three splits."""
    data_set.require_present(root)
    base = root / data_set.folder / "data"
    splits = {}
    for split in data_set.counts:
        parts = [line.partition(" ") for line in lines(_list(base, split))]
        splits[split] = [(base / "images" / f"{number}.jpg", variant.strip()) for number, _, variant in parts]
    return index_of(data_set, root, splits)


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the names in variants.txt."""
    return lines(root / data_set.folder / "data" / "variants.txt")


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per variant and split."""
    begin(root / data_set.folder, data_set.name)
    base = root / data_set.folder / "data"
    listed: dict[str, list[str]] = defaultdict(list)
    for split, label, number, image in drawings(data_set):
        listed[split].append(f"{100 * label + number:07d} {data_set.labels[label]}")
        save(image, base / "images" / f"{100 * label + number:07d}.jpg")
    for split, rows in listed.items():
        write_lines(_list(base, split), rows)
    write_lines(base / "variants.txt", list(data_set.labels))


def _list(base: Path, split: str) -> Path:
    return base / f"images_variant_{split}.txt"
