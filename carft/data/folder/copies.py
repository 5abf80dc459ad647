"""Held-out images of your own data that are byte-equal copies: they count as one group. No torch."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.core.errors import UserError
from carft.data.index import Index
from carft.data.indexing import in_threads
from carft.data.shards import image_status, open_image_file

#: bytes at the end of a file that tell most files of one size apart
TAIL = 4096


@dataclass(frozen=True)
class EqualImages:
    """Byte-equal images of a set."""

    split: str
    """``val``, ``test`` or ``ood/<domain>``."""
    images: int
    """Images of the set."""
    copies: int
    """Images of it that equal another one before them."""
    groups: int
    """Groups, in which copies are together."""

    @property
    def words(self) -> str:
        """What they do to intervals."""
        return (
            f"{self.copies} of {self.images} images of {self.split} are copies of another one, byte for byte. Copies "
            f"count as one group, which leaves {self.groups} groups."
        )


def equal_files(paths: Sequence[Path]) -> list[list[Path]]:
    """Return the files that have the same bytes, sorted, those with no equal left out. A file is read only if needed.

    Files that cannot be read equal no other.
    """
    alike = [list(paths)]
    for key in (_size, _tail, _content):
        groups: list[list[Path]] = []
        for group in alike:
            groups += _grouped(group, key)
        alike = groups
    return [sorted(same) for same in alike]


def _grouped(paths: Sequence[Path], key: Callable[[Path], object]) -> Iterable[list[Path]]:
    """The paths by a key, where several have it."""
    by_key: dict[object, list[Path]] = defaultdict(list)
    for path, value in zip(paths, in_threads(key, paths), strict=True):
        by_key[value].append(path)
    return [same for value, same in by_key.items() if value is not None and len(same) > 1]


def _size(path: Path) -> object:
    try:
        return image_status(path)[0]
    except (OSError, UserError):
        return None


def _tail(path: Path) -> object:
    try:
        with open_image_file(path) as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL))
            return hashlib.sha256(stream.read()).digest()
    except (OSError, UserError):
        return None


def _content(path: Path) -> object:
    try:
        with open_image_file(path) as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except (OSError, UserError):
        return None


def merged_groups(group_of: Mapping[Path, str], equal: Iterable[Sequence[Path]]) -> dict[str, str]:
    """Return group -> the group that it counts as, for groups that share an image with another one.

    group_of: image -> group. equal: of :func:`equal_files`.
    """
    first: dict[str, str] = {}

    def root(group: str) -> str:
        while first.get(group, group) != group:
            group = first[group]
        return group

    for paths in equal:
        groups = sorted({root(group_of[path]) for path in paths})
        for group in groups:
            first[group] = groups[0]
    return {group: root(group) for group in first if root(group) != group}


def equal_images(sets: Mapping[str, Index], equal: Iterable[Sequence[Path]]) -> list[EqualImages]:
    """Return the byte-equal images of each held-out set that has some. equal: of :func:`equal_files`."""
    same = list(equal)
    found = []
    for name, index in sets.items():
        if name == "train":
            continue
        inside = set(index.paths)
        copies = 0
        for paths in same:
            copies += max(0, len(inside.intersection(paths)) - 1)
        if copies:
            found.append(EqualImages(name, len(index), copies, len({*index.groups})))
    return found
