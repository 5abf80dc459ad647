"""A data set listed file by file: sizes, times, a digest, and images that cannot be decoded. No torch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from carft.core.errors import UserError
from carft.core.heartbeat import heartbeat
from carft.data.decoding import decode_pixels, decoders
from carft.data.sets import Index

Splits = Mapping[str, Index]
Result = TypeVar("Result")
#: size in bytes and modification time in nanoseconds
Status = tuple[int, int]

#: files per unit of work of a thread
CHUNK = 256


def in_threads(work: Callable[[Sequence[Path]], Result], paths: Sequence[Path]) -> Iterator[Result]:
    """Yield ``work`` of each :data:`CHUNK` paths, in order. Sends a heartbeat for each."""
    parts = (paths[first : first + CHUNK] for first in range(0, len(paths), CHUNK))
    with ThreadPoolExecutor(decoders()) as pool:
        for found in pool.map(work, parts):
            heartbeat()
            yield found


def statuses(paths: Sequence[Path]) -> list[Status]:
    """Return the status of each file; of an image of a packed set, that of its file. Raises ``OSError``."""
    return [one for part in in_threads(lambda chunk: [status(path) for path in chunk], paths) for one in part]


def status(path: Path) -> Status:
    """Return the status of a file. Raises ``OSError``."""
    try:
        found = path.stat()
    except NotADirectoryError:  # an image of a packed set
        found = path.parent.stat()
    return found.st_size, found.st_mtime_ns


def unreadable(paths: Sequence[Path]) -> dict[Path, str]:
    """Return path -> reason for every file that cannot be decoded. Reads all files, in threads."""
    return {path: reason for found in in_threads(_unreadable, paths) for path, reason in found.items()}


def _unreadable(paths: Sequence[Path]) -> dict[Path, str]:
    found = {}
    for path in paths:
        try:
            decode_pixels(path)
        except UserError as refusal:
            found[path] = refusal.message
    return found


def digest_of(base: Path, splits: Splits, sizes: Sequence[int] | None = None) -> str:
    """Return sha256 over one line per image: split, path in ``base``, label and size in bytes.

    sizes: of the images of all splits, one after the other; by default they are read.
    """
    digest = hashlib.sha256()
    if sizes is None:
        sizes = [size for index in splits.values() for size, _ in statuses(index.paths)]
    left = iter(sizes)
    for split, index in splits.items():
        for path, label in zip(index.paths, index.labels, strict=True):
            digest.update(f"{split} {path.relative_to(base).as_posix()} {label} {next(left)}\n".encode())
    return digest.hexdigest()


def shared_of(base: Path, splits: Splits) -> list[str]:
    """Return the paths in ``base`` of the images that are listed more than once."""
    seen = Counter(path for index in splits.values() for path in index.paths)
    return [path.relative_to(base).as_posix() for path, count in seen.items() if count > 1]
