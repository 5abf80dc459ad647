"""Sets with a text list of the images of each split, one a line.

FGVC-Aircraft by variant, Describable Textures (partition 1), SUN397 (official partition 1) and Oxford-IIIT Pets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.data.downstream.layouts.shared import damaged, drawings, index_of, lines, save, write_lines
from carft.data.sets import DataSet, Index
from carft.data.trees import folder_names


@dataclass(frozen=True)
class Format:
    """The lists of a set. All paths are relative to the folder of the set."""

    lists: Mapping[str, str]
    """Split -> its list."""
    parsed: Callable[[str, Sequence[str]], tuple[str, str]]
    """(path of the image, its class) of a line and the classes in label order; ``ValueError`` for a damaged line."""
    drawn: Callable[[str, int, int], str]
    """The line of an image of a fixture: of its class, its label and its number within the label."""
    classes: str
    """The list of classes, or the folder that holds a folder for each; empty where only the images name them."""


def _aircraft(line: str, _: Sequence[str]) -> tuple[str, str]:
    """<number> <variant>"""
    number, _space, variant = line.partition(" ")
    return f"data/images/{number}.jpg", variant.strip()


def _dtd(line: str, _: Sequence[str]) -> tuple[str, str]:
    """<class>/<name>.jpg"""
    return f"dtd/images/{line}", line.split("/")[0]


def _sun397(line: str, _: Sequence[str]) -> tuple[str, str]:
    """/<letter>/<class>/<name>.jpg"""
    return line.lstrip("/"), line.rpartition("/")[0]


def _pets(line: str, classes: Sequence[str]) -> tuple[str, str]:
    """<breed>_<number> <class id from 1> <species> <breed id>; the breed in the name and the class id must agree."""
    name, class_id, _species, _breed_id = line.split()
    breed = name.rpartition("_")[0]
    if class_id.lstrip("0") != str(classes.index(breed) + 1):
        raise ValueError(line)
    return f"images/{name}.jpg", breed


def _drawn_pet(breed: str, label: int, number: int) -> str:
    species = 1 if breed[0].isupper() else 2  # names of cats are capitalised
    return f"{breed}_{number} {label + 1} {species} 1"


FORMATS = {
    "aircraft": Format(
        {split: f"data/images_variant_{split}.txt" for split in ("train", "val", "test")},
        _aircraft,
        lambda name, label, number: f"{100 * label + number:07d} {name}",
        "data/variants.txt",
    ),
    "dtd": Format(
        {split: f"dtd/labels/{split}1.txt" for split in ("train", "val", "test")},
        _dtd,
        lambda name, label, number: f"{name}/{name}_{number:04d}.jpg",
        "dtd/images",
    ),
    "sun397": Format(
        {"train": "Training_01.txt", "test": "Testing_01.txt"},
        _sun397,
        lambda name, label, number: f"{name}/sun_{label:03d}{number:02d}.jpg",
        "ClassName.txt",
    ),
    "pets": Format({"train": "annotations/trainval.txt", "test": "annotations/test.txt"}, _pets, _drawn_pet, ""),
}


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return split -> images."""
    base = root / data_set.folder
    return index_of(data_set, root, {split: _listed(data_set, base, split) for split in data_set.counts})


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the names in the list of classes, of the class folders, or of the classes with training images, sorted."""
    base, known = root / data_set.folder, FORMATS[data_set.name]
    if not known.classes:
        return sorted({name for _, name in _listed(data_set, base, "train")})
    place = base / known.classes
    return folder_names(place) if place.is_dir() else lines(place)


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per class and split."""
    base, known = root / data_set.folder, FORMATS[data_set.name]
    listed: dict[str, list[str]] = defaultdict(list)
    for split, label, number, image in drawings(data_set):
        line = known.drawn(data_set.labels[label], label, number)
        listed[split].append(line)
        save(image, base / known.parsed(line, data_set.labels)[0])
    for split, rows in listed.items():
        write_lines(base / known.lists[split], rows)
    if known.classes.endswith(".txt"):
        write_lines(base / known.classes, list(data_set.labels))


def _listed(data_set: DataSet, base: Path, split: str) -> list[tuple[Path, str]]:
    """(Image, class) of every line of a list."""
    known = FORMATS[data_set.name]
    path = base / known.lists[split]
    try:
        parsed = [known.parsed(line, data_set.labels) for line in lines(path)]
    except ValueError as error:
        raise damaged(path) from error
    return [(base / image, name) for image, name in parsed]
