"""The family of the nine downstream tasks, whose annotation files name split and class of each image. No torch."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from carft.core.errors import CorruptFile, UserError
from carft.core.files import open_plain, read_plain
from carft.data.card import STANDARD, Card
from carft.data.facts import facts, imagenet_templates
from carft.data.family import DataSetFamily, pool_of
from carft.data.index import Index
from carft.data.sets import DataSet, Download, picture

#: images of each class in a fixture; training needs at least two, so that one can be held out
COUNTS = {"train": 3, "val": 1, "test": 1}
SIDE, CIFAR_SIDE = 24, 32
#: (path in the folder of the set, class as the set's own files call it) of each image
NamedClasses = Sequence[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Annotated(DataSet):
    """A set whose annotation files name the images of each split. All paths start at the folder of the set."""

    lists: Mapping[str, str] = field(default_factory=dict)
    """Split -> the file that lists its images."""
    path: str = ""
    """Path of an image, by its ``stem``, its ``split`` and the ``name`` of its class."""

    def rows(self, base: Path, split: str) -> NamedClasses:
        """Return the images of a split. base: the folder of the set.

        May raise any error of parsing, which :meth:`listed` turns into one that names the annotation file.
        """
        raise NotImplementedError

    def write(self, base: Path, images: Mapping[str, NamedClasses]) -> None:
        """Write the annotation files of a fixture. images: split -> (stem, class) of each; stems are numbers from 1."""
        raise NotImplementedError

    def listed(self, root: Path) -> dict[str, Index]:
        """The group of an image is its path in the folder of the set.

        Raises ``UserError`` for a damaged annotation file and an unknown class.
        """
        base = root / self.folder
        number = {label: i for i, label in enumerate(self.labels)}
        splits: dict[str, Index] = {}
        for split, file in self.lists.items():
            try:
                rows = self.rows(base, split)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise _damaged(base / file) from error
            paths, labels, groups = [], [], []
            for name, label in rows:
                path = base / name
                if label not in number:
                    raise UserError(
                        f"'{path}' is of '{label}', which is no class of {self.name}.",
                        f"Compare '{base}' with the real set: {self.source}.",
                    )
                paths.append(path)
                labels.append(number[label])
                groups.append(path.relative_to(base).as_posix())
            splits[split] = Index(tuple(paths), tuple(labels), tuple(groups))
        return splits

    def draw(self, root: Path) -> None:
        base = root / self.folder
        images = defaultdict[str, list[tuple[str, str]]](list)
        number = 0
        for split in self.counts:
            for label, name in enumerate(self.labels):
                for _ in range(COUNTS[split]):
                    number += 1
                    stem = f"{number:05d}"
                    path = base / self.path.format(split=split, name=name, stem=stem)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    picture(label, 0, number, SIDE).save(path)
                    images[split].append((stem, name))
        for file in self.lists.values():
            (base / file).parent.mkdir(parents=True, exist_ok=True)
        self.write(base, images)


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty."""
    lines = []
    for line in read_plain(path).decode().splitlines():
        if line.strip():
            lines.append(line.strip())
    return lines


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _damaged(path: Path) -> CorruptFile:
    """Return the error for an annotation file whose content is not in the expected format."""
    return CorruptFile(path, "it is incomplete or not the original file", "Replace it with a complete copy.")


@dataclass(frozen=True, eq=False)
class TextLists(Annotated):
    """A set with a text list of the images of each split, one a line."""

    line: str = ""
    """A line, by ``stem``, ``name`` of the class and its ``number`` from 1, which stands for other numbers too."""

    def rows(self, base: Path, split: str) -> NamedClasses:
        pattern = self.line.format(name="(?P<name>.+)", stem="(?P<stem>[^/ ]+)", number="[0-9]+")
        rows = []
        for line in _read_lines(base / self.lists[split]):
            match = re.fullmatch(pattern, line)
            if match is None:
                raise ValueError(line)
            rows.append((self.path.format(**match.groupdict()), match["name"]))
        return rows

    def write(self, base: Path, images: Mapping[str, NamedClasses]) -> None:
        number = {name: i for i, name in enumerate(self.labels, start=1)}
        for split, rows in images.items():
            lines = [self.line.format(stem=stem, name=name, number=number[name]) for stem, name in rows]
            _write_lines(base / self.lists[split], lines)


class Food101(Annotated):
    """images/<class>/<name>.jpg, and meta/<split>.json: class -> list of <class>/<name>."""

    def rows(self, base: Path, split: str) -> NamedClasses:
        listed = json.loads(read_plain(base / self.lists[split]))
        rows = []
        for label, names in listed.items():
            for name in names:
                rows.append((f"images/{name}.jpg", label))
        return rows

    def write(self, base: Path, images: Mapping[str, NamedClasses]) -> None:
        for split, rows in images.items():
            listed: dict[str, list[str]] = defaultdict(list)
            for stem, label in rows:
                listed[label].append(f"{label}/{stem}")
            _write_lines(base / self.lists[split], [json.dumps(listed)])


def _variable(path: Path, name: str) -> Any:
    """A variable of a MATLAB file without dimensions of size 1, at least one. ``CorruptFile`` if it cannot be read."""
    from scipy.io import loadmat

    try:
        with open_plain(path) as stream:
            return np.atleast_1d(loadmat(stream, squeeze_me=True)[name])
    except Exception as error:  # scipy raises many kinds for a corrupt file
        raise _damaged(path) from error


class Cars(Annotated):
    """cars_train/, cars_test/ with images, and MATLAB tables of (file name, class id from 1)."""

    def rows(self, base: Path, split: str) -> NamedClasses:
        """Class ids are read through the set's own list of names, cars_meta.mat."""
        names = dict(enumerate(_variable(base / "devkit/cars_meta.mat", "class_names"), start=1))
        rows = []
        for row in _variable(base / self.lists[split], "annotations"):
            label = str(names[int(row["class"])]).strip()
            rows.append((f"cars_{split}/{row['fname']}", label))
        return rows

    def write(self, base: Path, images: Mapping[str, NamedClasses]) -> None:
        from scipy.io import savemat

        savemat(base / "devkit/cars_meta.mat", {"class_names": np.array([self.labels], dtype=object)})
        for split, rows in images.items():
            table = [(self.labels.index(label) + 1, f"{stem}.jpg") for stem, label in rows]
            structs = np.array([table], dtype=[("class", object), ("fname", object)])  # one row, as in the devkit
            savemat(base / self.lists[split], {"annotations": structs})


class Flowers(Annotated):
    """jpg/image_<number>.jpg, labels in imagelabels.mat, split numbers in setid.mat."""

    variables: ClassVar = {"train": "trnid", "val": "valid", "test": "tstid"}

    def rows(self, base: Path, split: str) -> NamedClasses:
        """The official training split is the small one."""
        labels = dict(enumerate(_variable(base / "imagelabels.mat", "labels"), start=1))
        rows = []
        for number in _variable(base / "setid.mat", self.variables[split]):
            path = self.path.format(stem=f"{number:05d}")
            rows.append((path, str(int(labels[number]))))
        return rows

    def write(self, base: Path, images: Mapping[str, NamedClasses]) -> None:
        from scipy.io import savemat

        labels, variables = [], {}
        for split, rows in images.items():
            numbers = []
            for stem, label in rows:
                numbers.append(int(stem))
                labels.append(self.labels.index(label) + 1)
            variables[self.variables[split]] = np.array([numbers])
        savemat(base / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
        savemat(base / "setid.mat", variables)


@dataclass(frozen=True, eq=False)
class Cifar(Annotated):
    """The binary version of CIFAR; the Python version is a pickle, which is never loaded.

    A record has one or two label bytes, of which the last is the class, and 3 x 32 x 32 pixels. The path of image 7 of
    a file is <file>/00007. All splits have one list, that of the classes.
    """

    packed: ClassVar[bool] = True
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Split -> its files."""
    label_bytes: int = 1

    def rows(self, base: Path, split: str) -> NamedClasses:
        names = _read_lines(base / self.lists[split])
        rows = []
        for file in self.files[split]:
            labels = self._records(base / file)[:, self.label_bytes - 1]
            if labels.max() >= len(names):
                raise _damaged(base / file)
            rows += [(f"{file}/{i:05d}", names[label]) for i, label in enumerate(labels)]
        return rows

    def pixels(self, paths: Sequence[Path]) -> np.ndarray:
        """Return the images of these paths."""
        records: dict[Path, np.ndarray] = {}
        images = []
        for path in paths:
            file, number = path.parent, int(path.name)
            if file not in records:
                records[file] = self._records(file)
            images.append(records[file][number, self.label_bytes :])
        return np.stack(images).reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)

    def picture(self, path: Path) -> np.ndarray:
        return self.pixels([path])[0].transpose(1, 2, 0)

    def _records(self, path: Path) -> np.ndarray:
        """(N, label bytes + 3072) uint8, memory-mapped."""
        size = self.label_bytes + 3 * CIFAR_SIDE**2
        count, rest = divmod(path.stat().st_size, size)
        if rest or not count:
            raise _damaged(path)
        return np.memmap(path, np.uint8, "r", shape=(count, size))

    def draw(self, root: Path) -> None:
        """Write a few images per class, in turn to the files of their split."""
        base = root / self.folder
        for domain, (split, files) in enumerate(self.files.items()):
            labels = np.repeat(range(len(self.labels)), COUNTS[split]).tolist()
            for first, file in enumerate(files):
                records = []
                for number in range(first, len(labels), len(files)):
                    planes = np.asarray(picture(labels[number], domain, number, CIFAR_SIDE)).transpose(2, 0, 1)
                    records.append(bytes(self.label_bytes - 1) + bytes([labels[number]]) + planes.tobytes())
                (base / file).write_bytes(b"".join(records))
            _write_lines(base / self.lists[split], self.labels)


#: ``layout`` of a table of facts -> how such a set lies on disk
LAYOUTS: dict[str, type[Annotated]] = {
    "cifar": Cifar,
    "lists": TextLists,
    "food101": Food101,
    "cars": Cars,
    "flowers": Flowers,
}
#: the nine, in the order in which papers list them
NINE = ("cifar10", "cifar100", "dtd", "food101", "sun397", "cars", "aircraft", "pets", "flowers")


def _data_set(name: str) -> DataSet:
    known = facts(name)
    layout = LAYOUTS[known["layout"]]
    own: dict[str, Any] = {}
    for one in fields(layout):
        if one.name in known:
            own[one.name] = tuple(known[one.name]) if isinstance(known[one.name], list) else known[one.name]
    archives = tuple(Download(**archive) for archive in known["archives"])
    return layout(**{**own, "name": name, "archives": archives})


def _card(data_set: DataSet) -> Card:
    known = facts(data_set.name)
    own = tuple(known["templates"])
    return data_set.card(
        version=data_set.version,
        templates=own,
        suites=(),
        metric=known["metric"],
        banks={STANDARD: imagenet_templates(), "own": own},
    )


DATA_SETS: dict[str, DataSet] = {name: _data_set(name) for name in NINE}
CARDS: dict[str, Card] = {name: _card(data_set) for name, data_set in DATA_SETS.items()}

_POOL = pool_of("downstream", "several", "nine downstream tasks", CARDS, "downstream")
FAMILY = DataSetFamily("downstream", CARDS, DATA_SETS, (_POOL,), order=2)
