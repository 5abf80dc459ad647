"""Oxford-IIIT Pets: images/<breed>_<number>.jpg, and lists "<breed>_<number> <class id> <species> <breed id>"."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from carft.data.downstream.layouts.drawing import drawings, save, write_lines
from carft.data.downstream.layouts.reading import damaged, index_of, lines
from carft.data.fixtures import begin
from carft.data.sets import DataSet, Index

LISTS = {"train": "trainval.txt", "test": "test.txt"}


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return training (``trainval``) and test images. The breed in a name and its class id must agree."""
    data_set.require_present(root)
    base = root / data_set.folder
    splits = {}
    for split, file in LISTS.items():
        names = [name for name, _ in _listed(base / "annotations" / file, data_set)]
        splits[split] = [(base / "images" / f"{name}.jpg", _breed(name)) for name in names]
    return index_of(data_set, root, splits)


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the breeds in the training list, by class id."""
    listed = _listed(root / data_set.folder / "annotations" / LISTS["train"], data_set)
    return [breed for _, breed in sorted({(number, _breed(name)) for name, number in listed})]


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per breed and split."""
    base = root / data_set.folder
    begin(base, data_set.name)
    listed: dict[str, list[str]] = defaultdict(list)
    for split, label, number, image in drawings(data_set):
        name = f"{data_set.labels[label]}_{number}"
        species = 1 if name[0].isupper() else 2  # names of cats are capitalised
        listed[split].append(f"{name} {label + 1} {species} 1")
        save(image, base / "images" / f"{name}.jpg")
    for split, rows in listed.items():
        write_lines(base / "annotations" / LISTS[split], rows)


def _listed(path: Path, data_set: DataSet) -> list[tuple[str, int]]:
    """(name, class id from 1) of every line."""
    rows = []
    for line in lines(path):
        parts = line.split()
        known = len(parts) == 4 and parts[1].isdigit() and 1 <= int(parts[1]) <= len(data_set.labels)
        if not known or data_set.labels[int(parts[1]) - 1] != _breed(parts[0]):
            raise damaged(path)
        rows.append((parts[0], int(parts[1])))
    return rows


def _breed(name: str) -> str:
    return name.rpartition("_")[0]
