"""Held-out images that are copies of images to train on, byte for byte. No torch."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from carft.core.errors import UserError
from carft.data.index import Index
from carft.data.indexing import in_threads
from carft.data.shards import image_status, open_image_file


def held_out_copies(sets: Mapping[str, Index]) -> dict[str, list[tuple[Path, Path]]]:
    """Return, for each held-out set that has some, its images that equal an image to train on, each with that image.

    A file is read only if another one has its size. Files that cannot be read equal no other. sets: ``train`` and the
    held-out sets of a task.
    """
    images = [path for index in sets.values() for path in index.paths]
    same_size = [path for paths in _by_key(images, _size).values() if len(paths) > 1 for path in paths]
    digests = {path: digest for digest, paths in _by_key(same_size, _digest).items() for path in paths}
    trained = {digests[path]: path for path in sets["train"].paths if path in digests}
    found = defaultdict(list)
    for name, index in sets.items():
        for path in index.paths:
            if name != "train" and digests.get(path) in trained:
                found[name].append((path, trained[digests[path]]))
    return dict(found)


def _by_key(paths: Iterable[Path], key: Callable[[Path], object]) -> dict[object, list[Path]]:
    """The paths by a key; those without one are left out."""
    listed, by_key = list(paths), defaultdict(list)
    for path, value in zip(listed, in_threads(key, listed), strict=True):
        if value is not None:
            by_key[value].append(path)
    return by_key


def _size(path: Path) -> object:
    try:
        return image_status(path)[0]
    except (OSError, UserError):
        return None


def _digest(path: Path) -> object:
    try:
        with open_image_file(path) as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except (OSError, UserError):
        return None
