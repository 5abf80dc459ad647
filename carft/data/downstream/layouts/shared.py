"""Shared by the layouts: text and MATLAB files, rows that become an index, and drawings of a fixture. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from carft.core.errors import CorruptFile, UserError
from carft.data.fixtures import picture
from carft.data.sets import DataSet, Index

#: images of each class in a fixture; training needs at least two, so that one can be held out
COUNTS = {"train": 3, "val": 1, "test": 1}
SIDE = 24
Rows = Iterable[tuple[Path, str]]


def lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty. Raises ``CorruptFile`` if it is not text."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def variable(path: Path, name: str) -> Any:
    """Return a variable of a MATLAB file without dimensions of size 1. Raises ``CorruptFile`` if it cannot be read."""
    from scipy.io import loadmat

    try:
        return loadmat(path, squeeze_me=True)[name]
    except Exception as error:  # scipy raises many kinds for a corrupt file
        raise damaged(path) from error


def damaged(path: Path) -> CorruptFile:
    """Return the error for an annotation file whose content is not in the expected format."""
    return CorruptFile(path, "it is incomplete or not the original file", "Replace it with a complete copy.")


def index_of(data_set: DataSet, root: Path, splits: Mapping[str, Rows]) -> dict[str, Index]:
    """Return split -> index of rows (path, class name in the set's own files).

    The group of an image is its path in the folder of the set. Raises ``UserError`` for an unknown class or a missing
    image.
    """
    base = root / data_set.folder
    number = {label: i for i, label in enumerate(data_set.labels)}
    found: dict[str, Index] = {}
    for split, rows in splits.items():
        paths, labels = [], []
        for path, label in rows:
            if label not in number:
                raise UserError(
                    f"'{label}' is not one of the {len(number)} classes of {data_set.name}, but '{path}' has it.",
                    f"Compare '{base}' with the real set: {data_set.source}.",
                )
            paths.append(path)
            labels.append(number[label])
        groups = tuple(path.relative_to(base).as_posix() for path in paths)
        found[split] = Index(tuple(paths), tuple(labels), groups)
    if not data_set.packed:
        require_images(data_set, root, [path for index in found.values() for path in index.paths])
    return found


def require_images(data_set: DataSet, root: Path, paths: Sequence[Path]) -> None:
    """Raise ``UserError`` if a file does not exist. Lists each folder once."""
    names: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        names[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    gone = [path for path in paths if path.name not in names[path.parent]]
    if gone:
        raise data_set.missing(root, gone[0], len(gone) - 1)


def drawings(data_set: DataSet) -> Iterator[tuple[str, int, int, Image.Image]]:
    """Yield (split, label, number within the label from 1, image), split by split."""
    for position, split in enumerate(data_set.counts):
        for label in range(len(data_set.classes)):
            for i in range(COUNTS[split]):
                number = 1 + sum(COUNTS[s] for s in list(data_set.counts)[:position]) + i
                yield split, label, number, picture(label, 0, number, SIDE)


def save(image: Image.Image, path: Path) -> None:
    """Write a JPEG and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a text file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
