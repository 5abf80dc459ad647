"""The images of a tree of your own: listed, or read from an index where there are many. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.core.errors import UserError
from carft.data.folder.splits import SPLITS
from carft.data.folder.tree import ALONE, checked_classes
from carft.data.index_state import SPOT
from carft.data.indexing import indexed
from carft.data.listing import statuses
from carft.data.sets import DataSet, Index
from carft.data.trees import CONVERT, IMAGES, entries_of

#: names of folders that are taken for splits where all folders are called so
SPLIT_FOLDERS = {*SPLITS, "valid", "validation"}


@dataclass(frozen=True)
class Listed:
    """The images of a tree."""

    images: Mapping[str, Index]
    """Domain -> images, by class and name. The group of an image is the stem of its file."""
    names: Sequence[str]
    """Paths of all images, domain by domain, relative to the tree."""
    sizes: Sequence[int]
    """Sizes of the same files in bytes."""


def listed(root: Path, full: bool = False) -> Listed:
    """Return the images of a tree. One of more than ``SPOT`` images is read from its index, which is made if needed.

    full: compare the index with size and time of every file. Raises ``UserError`` for an invalid tree.
    """
    # the classes are not known yet
    data_set = DataSet(f"list:{root}", str(root), "Your own data", (), {}, "", "", layout=__name__)
    if _is_large(root):
        found = indexed(data_set, Path(), full=full)
        return Listed(found.splits, found.names, found.sizes)
    images = index(data_set, Path())
    paths = [path for one in images.values() for path in one.paths]
    return Listed(images, [p.relative_to(root).as_posix() for p in paths], [size for size, _ in statuses(paths)])


def _is_large(root: Path) -> bool:
    """Whether there are more files than are looked at one by one anyway; no file is looked at here."""
    count = 0
    for _, _, files in os.walk(root):
        count += len(files)
        if count > SPOT:
            return True
    return False


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return domain -> images, without an index. Raises ``UserError`` for an invalid tree."""
    base = root / data_set.folder
    places = _places(base)
    classes = checked_classes(base, {domain: _folders(place, base) for domain, place in places.items()})
    return {domain: _images(place, classes, base) for domain, place in places.items()}


def _places(root: Path) -> dict[str, Path]:
    """Return domain -> the folder that holds its class folders: ``root`` alone where it holds those itself."""
    folders = _folders(root, root)
    inside = [entry for name in folders for entry in _entries(root / name, root)]
    if any(entry.name.lower().endswith(IMAGES) for entry in inside) and not any(entry.is_dir() for entry in inside):
        return {ALONE: root}
    if len(folders) < 2:
        raise UserError(
            f"'{root}' has {'one domain only' if folders else 'no domain'}, and robustness under shift needs two.",
            "Lay the images out as <domain>/<class>/<image>, for example photo/cat/1.jpg and sketch/cat/1.jpg, or "
            "without domains as <class>/<image>.",
        )
    if set(folders) <= SPLIT_FOLDERS:
        raise UserError(
            f"The folders of '{root}' are called {', '.join(folders)}: they look like splits, not like domains.",
            "List the images in a table with the column split (docs/folder.md), or name the splits in split.json.",
        )
    return {name: root / name for name in folders}


def _entries(folder: Path, root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder by name, without hidden files. Raises ``UserError`` for a link out of the tree."""
    for entry in entries_of(folder):
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise UserError(
                f"'{entry.path}' is a link that leads out of '{root}'.",
                "Copy its target into the folder: files outside are not part of the version of the data.",
            )
        yield entry


def _folders(folder: Path, root: Path) -> tuple[str, ...]:
    return tuple(entry.name for entry in _entries(folder, root) if entry.is_dir())


def _images(place: Path, classes: Sequence[str], root: Path) -> Index:
    """Return the images of a domain."""
    found = [(label, place / name / file) for label, name in enumerate(classes) for file in _files(place / name, root)]
    return Index(
        tuple(path for _, path in found), tuple(label for label, _ in found), tuple(path.stem for _, path in found)
    )


def _files(folder: Path, root: Path) -> list[str]:
    """Return the names of the images of a class folder."""
    entries = list(_entries(folder, root))
    if inner := [e.name for e in entries if e.is_dir()]:
        raise UserError(
            f"'{folder}' holds the folder '{inner[0]}' where images should be.",
            "The tree has two levels, <domain>/<class>/<image>: move the images up or the folder away. Several tasks, "
            "<task>/<domain>/<class>/<image>, become a tasks file with: python cli.py init FOLDER",
        )
    found = [e.name for e in entries if e.name.lower().endswith(IMAGES)]
    if not found:
        others = f"; its {len(entries)} files are not read, '{entries[0].name}' first" if entries else ""
        raise UserError(f"There is no image in '{folder}'{others}.", f"{CONVERT} Or delete the class.")
    return found
