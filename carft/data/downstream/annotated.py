"""Downstream sets whose annotation files name split and class of each image. No torch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from carft.core.errors import CorruptFile, UserError
from carft.data.fixtures import picture
from carft.data.sets import DataSet, Index
from carft.data.trees import folder_names

#: images of each class in a fixture; training needs at least two, so that one can be held out
COUNTS = {"train": 3, "val": 1, "test": 1}
SIDE = 24
#: (path in the folder of the set, class as the set's own files call it)
Rows = Iterable[tuple[str, str]]


class Annotated(DataSet):
    """A set whose annotation files name the images of each split."""

    def rows(self, base: Path) -> Mapping[str, Rows]:
        """Return split -> images. base: the folder of the set. Raises ``CorruptFile`` for a damaged file."""
        raise NotImplementedError

    def listed(self, root: Path) -> dict[str, Index]:
        """The group of an image is its path in the folder of the set.

        Raises ``UserError`` for an unknown class or a missing image.
        """
        base = root / self.folder
        number = {label: i for i, label in enumerate(self.labels)}
        found: dict[str, Index] = {}
        for split, rows in self.rows(base).items():
            paths, labels = [], []
            for name, label in rows:
                if label not in number:
                    raise UserError(
                        f"'{label}' is not one of the {len(number)} classes of {self.name}, but "
                        f"'{base / name}' has it.",
                        f"Compare '{base}' with the real set: {self.source}.",
                    )
                paths.append(base / name)
                labels.append(number[label])
            groups = tuple(path.relative_to(base).as_posix() for path in paths)
            found[split] = Index(tuple(paths), tuple(labels), groups)
        if not self.packed:
            self._require_images(root, [path for index in found.values() for path in index.paths])
        return found

    def _require_images(self, root: Path, paths: Sequence[Path]) -> None:
        """Raise ``UserError`` if a file does not exist. Lists each folder once."""
        folders = {path.parent for path in paths}
        names = {folder: {entry.name for entry in folder.iterdir()} if folder.is_dir() else set() for folder in folders}
        gone = [path for path in paths if path.name not in names[path.parent]]
        if gone:
            raise self.missing(root, gone[0], len(gone) - 1)

    def drawings(self) -> Iterator[tuple[str, int, int, Image.Image]]:
        """Yield (split, label, number within the label from 1, image), split by split."""
        before = 0
        for split in self.counts:
            for label in range(len(self.classes)):
                for number in range(before + 1, before + COUNTS[split] + 1):
                    yield split, label, number, picture(label, 0, number, SIDE)
            before += COUNTS[split]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty. Raises ``CorruptFile`` if it is not text."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def damaged(path: Path) -> CorruptFile:
    """Return the error for an annotation file whose content is not in the expected format."""
    return CorruptFile(path, "it is incomplete or not the original file", "Replace it with a complete copy.")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


def _variable(path: Path, name: str) -> Any:
    """A variable of a MATLAB file without dimensions of size 1, at least one. ``CorruptFile`` if it cannot be read."""
    from scipy.io import loadmat

    try:
        return np.atleast_1d(loadmat(path, squeeze_me=True)[name])
    except Exception as error:  # scipy raises many kinds for a corrupt file
        raise damaged(path) from error


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


#: FGVC-Aircraft by variant, Describable Textures (partition 1), SUN397 (official partition 1), Oxford-IIIT Pets
FORMATS = {
    "aircraft": Format(
        {split: f"data/images_variant_{split}.txt" for split in ("train", "val", "test")},
        _aircraft,
        lambda name, label, number: f"{100 * label + number:07d} {name}",
        "data/variants.txt",
    ),
    "dtd": Format(
        {split: f"dtd/labels/{split}1.txt" for split in ("train", "val", "test")},
        lambda line, _: (f"dtd/images/{line}", line.split("/")[0]),
        lambda name, label, number: f"{name}/{name}_{number:04d}.jpg",
        "dtd/images",
    ),
    "sun397": Format(
        {"train": "Training_01.txt", "test": "Testing_01.txt"},
        lambda line, _: (line.lstrip("/"), line.rpartition("/")[0]),  # /<letter>/<class>/<name>.jpg
        lambda name, label, number: f"{name}/sun_{label:03d}{number:02d}.jpg",
        "ClassName.txt",
    ),
    "pets": Format({"train": "annotations/trainval.txt", "test": "annotations/test.txt"}, _pets, _drawn_pet, ""),
}


class Lists(Annotated):
    """A set with a text list of the images of each split, one a line."""

    def rows(self, base: Path) -> Mapping[str, Rows]:
        found: dict[str, Rows] = {}
        for split in self.counts:
            path = base / FORMATS[self.name].lists[split]
            try:
                found[split] = [FORMATS[self.name].parsed(line, self.labels) for line in read_lines(path)]
            except ValueError as error:
                raise damaged(path) from error
        return found

    def found_classes(self, root: Path) -> list[str]:
        """The list of classes, their folders, or the classes with training images, sorted."""
        base = root / self.folder
        place = base / FORMATS[self.name].classes
        if place == base:
            return sorted({name for _, name in self.rows(base)["train"]})
        return folder_names(place) if place.is_dir() else read_lines(place)

    def draw(self, root: Path) -> None:
        base, known = root / self.folder, FORMATS[self.name]
        listed: dict[str, list[str]] = defaultdict(list)
        for split, label, number, image in self.drawings():
            line = known.drawn(self.labels[label], label, number)
            listed[split].append(line)
            _save(image, base / known.parsed(line, self.labels)[0])
        for split, rows in listed.items():
            write_lines(base / known.lists[split], rows)
        if known.classes.endswith(".txt"):
            write_lines(base / known.classes, self.labels)


class Food101(Annotated):
    """images/<class>/<name>.jpg, and meta/<split>.json: class -> list of <class>/<name>."""

    def rows(self, base: Path) -> Mapping[str, Rows]:
        found: dict[str, Rows] = {}
        for split in self.counts:
            path = base / "meta" / f"{split}.json"
            try:
                listed = json.loads(path.read_text(encoding="utf-8")).items()
                found[split] = [(f"images/{name}.jpg", str(label)) for label, names in listed for name in names]
            except (ValueError, AttributeError, TypeError) as error:
                raise damaged(path) from error
        return found

    def found_classes(self, root: Path) -> list[str]:
        return folder_names(root / self.folder / "images")

    def draw(self, root: Path) -> None:
        base = root / self.folder
        listed: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for split, label, number, image in self.drawings():
            name = f"{self.labels[label]}/{1000 * label + number}"
            listed[split][self.labels[label]].append(name)
            _save(image, base / "images" / f"{name}.jpg")
        for split, names in listed.items():
            write_lines(base / "meta" / f"{split}.json", [json.dumps(names)])


class Cars(Annotated):
    """cars_train/, cars_test/ with images, and MATLAB tables of (file name, class id from 1)."""

    tables: ClassVar = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}

    def rows(self, base: Path) -> Mapping[str, Rows]:
        """Class ids are read through the set's own list of names."""
        names, found = self.found_classes(base.parent), {}
        for split, file in self.tables.items():
            rows = _variable(base / file, "annotations")
            if not {"fname", "class"} <= set(rows.dtype.names or ()):
                raise damaged(base / file)
            ids = [int(number) for number in rows["class"]]
            if not all(1 <= number <= len(names) for number in ids):
                raise damaged(base / file)
            images = (f"cars_{split}/{name}" for name in rows["fname"])
            found[split] = list(zip(images, [names[number - 1] for number in ids], strict=True))
        return found

    def found_classes(self, root: Path) -> list[str]:
        """The names in cars_meta.mat, by class id."""
        return [str(name).strip() for name in _variable(root / self.folder / "devkit/cars_meta.mat", "class_names")]

    def draw(self, root: Path) -> None:
        from scipy.io import savemat

        base = root / self.folder
        rows: dict[str, list[tuple]] = defaultdict(list)
        for split, label, _, image in self.drawings():
            name = f"{len(rows[split]) + 1:05d}.jpg"
            rows[split].append((0, 0, *image.size, label + 1, name))
            _save(image, base / f"cars_{split}" / name)
        box = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
        kind = [(name, object) for name in (*box, "class", "fname")]
        (base / "devkit").mkdir(exist_ok=True)
        for split, table in rows.items():
            savemat(base / self.tables[split], {"annotations": np.array([table], dtype=kind)})
        savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array([self.labels], dtype=object)})


class Flowers(Annotated):
    """jpg/image_<number>.jpg, labels in imagelabels.mat, split numbers in setid.mat."""

    variables: ClassVar = {"train": "trnid", "val": "valid", "test": "tstid"}

    def rows(self, base: Path) -> Mapping[str, Rows]:
        """The official training split is the small one."""
        labels, found = self._labels(base), {}
        for split, name in self.variables.items():
            numbers = _variable(base / "setid.mat", name).tolist()
            if not all(1 <= number <= len(labels) for number in numbers):
                raise damaged(base / "setid.mat")
            found[split] = [(f"jpg/image_{number:05d}.jpg", labels[number - 1]) for number in numbers]
        return found

    def _labels(self, base: Path) -> list[str]:
        return [str(int(label)) for label in _variable(base / "imagelabels.mat", "labels")]

    def found_classes(self, root: Path) -> list[str]:
        return sorted(set(self._labels(root / self.folder)), key=int)

    def draw(self, root: Path) -> None:
        from scipy.io import savemat

        base = root / self.folder
        labels: list[int] = []
        numbers: dict[str, list[int]] = defaultdict(list)
        for split, label, _, image in self.drawings():
            labels.append(label + 1)
            numbers[self.variables[split]].append(len(labels))
            _save(image, base / "jpg" / f"image_{len(labels):05d}.jpg")
        savemat(base / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
        savemat(base / "setid.mat", {name: np.array([ids], np.uint16) for name, ids in numbers.items()})
