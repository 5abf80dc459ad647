"""How the downstream sets lie on disk: annotation files that name split and class of each image. No torch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from carft.core.errors import CorruptFile, UserError
from carft.data.fixtures import picture
from carft.data.sets import DataSet, Index

if TYPE_CHECKING:
    import torch

#: images of each class in a fixture; training needs at least two, so that one can be held out
COUNTS = {"train": 3, "val": 1, "test": 1}
SIDE, CIFAR_SIDE = 24, 32
#: (path in the folder of the set, class as the set's own files call it)
Rows = Iterable[tuple[str, str]]


class Annotated(DataSet):
    """A set whose annotation files name the images of each split."""

    def annotations(self) -> Mapping[str, str]:
        """Return split -> the file that lists its images, in the folder of the set."""
        raise NotImplementedError

    def rows(self, base: Path, split: str) -> Rows:
        """Return the images of a split. base: the folder of the set.

        May raise any error of parsing, which :meth:`listed` turns into one that names the annotation file.
        """
        raise NotImplementedError

    def listed(self, root: Path) -> dict[str, Index]:
        """The group of an image is its path in the folder of the set.

        Raises ``UserError`` for a damaged annotation file, an unknown class or a missing image.
        """
        base = root / self.folder
        number = {label: i for i, label in enumerate(self.labels)}
        found: dict[str, Index] = {}
        for split, file in self.annotations().items():
            try:
                rows = list(self.rows(base, split))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise _damaged(base / file) from error
            if strange := next(((name, label) for name, label in rows if label not in number), None):
                raise UserError(
                    f"'{strange[1]}' is not one of the {len(number)} classes of {self.name}, but "
                    f"'{base / strange[0]}' has it.",
                    f"Compare '{base}' with the real set: {self.source}.",
                )
            names, labels = zip(*rows, strict=True) if rows else ((), ())
            paths = tuple(base / name for name in names)
            groups = tuple(path.relative_to(base).as_posix() for path in paths)
            found[split] = Index(paths, tuple(number[label] for label in labels), groups)
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


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _damaged(path: Path) -> CorruptFile:
    """Return the error for an annotation file whose content is not in the expected format."""
    return CorruptFile(path, "it is incomplete or not the original file", "Replace it with a complete copy.")


def _write_lines(path: Path, lines: Iterable[str]) -> None:
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
        raise _damaged(path) from error


@dataclass(frozen=True)
class Format:
    """The lists of a set. All paths are relative to the folder of the set."""

    lists: Mapping[str, str]
    """Split -> its list."""
    parsed: Callable[[str, Sequence[str]], tuple[str, str]]
    """(path of the image, its class) of a line and the classes in label order; ``ValueError`` for a damaged line."""
    drawn: Callable[[str, int, int], str]
    """The line of an image of a fixture: of its class, its label and its number within the label."""
    classes: str = ""
    """The list of classes, which only fixtures need; empty where there is none."""


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
    ),
    "sun397": Format(
        {"train": "Training_01.txt", "test": "Testing_01.txt"},
        lambda line, _: (line.lstrip("/"), line.rpartition("/")[0]),  # /<letter>/<class>/<name>.jpg
        lambda name, label, number: f"{name}/sun_{label:03d}{number:02d}.jpg",
        "ClassName.txt",
    ),
    "pets": Format({"train": "annotations/trainval.txt", "test": "annotations/test.txt"}, _pets, _drawn_pet),
}


class Lists(Annotated):
    """A set with a text list of the images of each split, one a line."""

    def annotations(self) -> Mapping[str, str]:
        return FORMATS[self.name].lists

    def rows(self, base: Path, split: str) -> Rows:
        known = FORMATS[self.name]
        return [known.parsed(line, self.labels) for line in _read_lines(base / known.lists[split])]

    def draw(self, root: Path) -> None:
        base, known = root / self.folder, FORMATS[self.name]
        listed: dict[str, list[str]] = defaultdict(list)
        for split, label, number, image in self.drawings():
            line = known.drawn(self.labels[label], label, number)
            listed[split].append(line)
            _save(image, base / known.parsed(line, self.labels)[0])
        for split, rows in listed.items():
            _write_lines(base / known.lists[split], rows)
        if known.classes:
            _write_lines(base / known.classes, self.labels)


class Food101(Annotated):
    """images/<class>/<name>.jpg, and meta/<split>.json: class -> list of <class>/<name>."""

    def annotations(self) -> Mapping[str, str]:
        return {split: f"meta/{split}.json" for split in self.counts}

    def rows(self, base: Path, split: str) -> Rows:
        listed = json.loads((base / f"meta/{split}.json").read_text(encoding="utf-8"))
        return [(f"images/{name}.jpg", str(label)) for label, names in listed.items() for name in names]

    def draw(self, root: Path) -> None:
        base = root / self.folder
        listed: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for split, label, number, image in self.drawings():
            name = f"{self.labels[label]}/{1000 * label + number}"
            listed[split][self.labels[label]].append(name)
            _save(image, base / "images" / f"{name}.jpg")
        for split, names in listed.items():
            _write_lines(base / "meta" / f"{split}.json", [json.dumps(names)])


class Cars(Annotated):
    """cars_train/, cars_test/ with images, and MATLAB tables of (file name, class id from 1)."""

    def annotations(self) -> Mapping[str, str]:
        return {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}

    def rows(self, base: Path, split: str) -> Rows:
        """Class ids are read through the set's own list of names, cars_meta.mat."""
        names = dict(enumerate(_variable(base / "devkit/cars_meta.mat", "class_names"), start=1))
        rows = _variable(base / self.annotations()[split], "annotations")
        return [(f"cars_{split}/{row['fname']}", str(names[int(row["class"])]).strip()) for row in rows]

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
            savemat(base / self.annotations()[split], {"annotations": np.array([table], dtype=kind)})
        savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array([self.labels], dtype=object)})


class Flowers(Annotated):
    """jpg/image_<number>.jpg, labels in imagelabels.mat, split numbers in setid.mat."""

    variables: ClassVar = {"train": "trnid", "val": "valid", "test": "tstid"}

    def annotations(self) -> Mapping[str, str]:
        return dict.fromkeys(self.variables, "setid.mat")

    def rows(self, base: Path, split: str) -> Rows:
        """The official training split is the small one."""
        labels = dict(enumerate(_variable(base / "imagelabels.mat", "labels"), start=1))
        numbers = _variable(base / "setid.mat", self.variables[split])
        return [(f"jpg/image_{number:05d}.jpg", str(int(labels[number]))) for number in numbers]

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


@dataclass(frozen=True)
class CifarFormat:
    """The binary format of a version of CIFAR."""

    files: dict[str, tuple[str, ...]]
    """Split -> files."""
    label_bytes: int
    """Label bytes of a record; the last one is the class."""
    names: str
    """File with the class names."""


CIFAR = {
    "cifar10": CifarFormat(
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}, 1, "batches.meta.txt"
    ),
    "cifar100": CifarFormat({"train": ("train.bin",), "test": ("test.bin",)}, 2, "fine_label_names.txt"),
}


class Cifar(Annotated):
    """CIFAR-10 or CIFAR-100, the binary version; the Python version is a pickle, which is never loaded.

    A record has one or two label bytes and 3 x 32 x 32 pixels. The path of image 7 of a file is <file>/00007.
    """

    packed: ClassVar[bool] = True

    @property
    def format(self) -> CifarFormat:
        """How its files are read."""
        return CIFAR[self.name]

    def annotations(self) -> Mapping[str, str]:
        return dict.fromkeys(self.format.files, self.format.names)

    def rows(self, base: Path, split: str) -> Rows:
        names = _read_lines(base / self.format.names)
        for file in self.format.files[split]:
            labels = self._records(base / file)[:, self.format.label_bytes - 1]
            if len(labels) and labels.max() >= len(names):
                raise _damaged(base / file)
            yield from ((f"{file}/{i:05d}", names[label]) for i, label in enumerate(labels))

    def pixels(self, index: Index) -> torch.Tensor:
        """Return the images of an index, (N, 3, 32, 32) uint8 RGB."""
        import torch

        records = {file: self._records(file) for file in {path.parent for path in index.paths}}
        images = np.empty((len(index), 3, CIFAR_SIDE, CIFAR_SIDE), np.uint8)
        for row, path in enumerate(index.paths):
            images[row] = self._planes(records[path.parent], int(path.name))
        return torch.from_numpy(images)

    def picture(self, file: Path, number: int) -> np.ndarray:
        """Return one image, (32, 32, 3) uint8 RGB. Raises ``CorruptFile`` if its file is damaged or ends before it."""
        records = self._records(file)
        if number >= len(records):
            raise _damaged(file)
        return self._planes(records, number).transpose(1, 2, 0)

    def _planes(self, records: np.ndarray, number: int) -> np.ndarray:
        return records[number, self.format.label_bytes :].reshape(3, CIFAR_SIDE, CIFAR_SIDE)

    def _records(self, path: Path) -> np.ndarray:
        """(N, label bytes + 3072) uint8, memory-mapped."""
        size = self.format.label_bytes + 3 * CIFAR_SIDE**2
        count, rest = divmod(path.stat().st_size, size)
        if rest:
            raise _damaged(path)
        return np.memmap(path, np.uint8, "r", shape=(count, size)) if count else np.empty((0, size), np.uint8)

    def draw(self, root: Path) -> None:
        """Write a few images per class, split over all files."""
        base = root / self.folder
        records: dict[str, list[bytes]] = {file: [] for files in self.format.files.values() for file in files}
        for split, label, _, image in self.drawings():
            file = min(self.format.files[split], key=lambda name: len(records[name]))
            planes = np.asarray(image.resize((CIFAR_SIDE, CIFAR_SIDE))).transpose(2, 0, 1)
            records[file].append(bytes(self.format.label_bytes - 1) + bytes([label]) + planes.tobytes())
        for file, rows in records.items():
            (base / file).write_bytes(b"".join(rows))
        _write_lines(base / self.format.names, self.labels)
