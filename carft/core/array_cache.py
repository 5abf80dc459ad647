"""Arrays that are dear to compute and the same every time: kept on disk, memory-mapped, one copy for all processes of a
machine. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

GIB = 2**30
#: after this long the part file of a writer that died is litter
LITTER_SECONDS = 24 * 3600


@dataclass(frozen=True)
class ArrayCache:
    """A folder of kept arrays, each of two dimensions and in a file of its own, named by a key of what decides it.

    limit: bytes; before a file is added the least recently used ones are removed until it fits. A file is written
    beside its place and renamed, so that concurrent writers of one entry, which write the same bytes, do no harm. Its
    checksum stands in its name: a torn or changed file is not found to be what it says, and is computed again.
    """

    folder: Path
    limit: int = 10 * GIB

    def read(self, entry: str, rows: int, width: int, dtype: np.dtype) -> np.ndarray | None:
        """The array (rows, width) of an entry, memory-mapped and private; None when no file of it is whole."""
        for path in self.folder.glob(f"{entry}-*.npy"):
            try:
                values = np.load(path, mmap_mode="c", allow_pickle=False)
                os.utime(path)  # used now
            except (OSError, ValueError):
                continue
            fits = values.shape == (rows, width) and values.dtype == dtype
            if fits and path.name == f"{entry}-{_checksum(values)}.npy":
                return values
        return None

    def open(self, entry: str, rows: int, width: int, dtype: np.dtype) -> np.memmap:
        """A new file for the array of an entry, memory-mapped; it has no name yet that :meth:`read` looks for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_room(rows * width * dtype.itemsize)
        part = self.folder / f"{entry}.{os.getpid()}-{uuid4().hex[:8]}.part"
        values = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=(rows, width))
        try:
            with part.open("rb+") as file:  # a disk that is full shows here, not as a crash when a page is written
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return values

    def commit(self, entry: str, values: np.memmap) -> None:
        """Give a filled file its name."""
        values.flush()
        path = Path(str(values.filename))
        path.replace(self.folder / f"{entry}-{_checksum(values)}.npy")

    def discard(self, values: np.memmap) -> None:
        """Remove a file that was not filled."""
        Path(str(values.filename)).unlink(missing_ok=True)

    def get(self, entry: str, rows: int, width: int, dtype: np.dtype, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of an entry, made and kept if it is not there; only made where the folder cannot be written."""
        known = self.read(entry, rows, width, dtype)
        if known is not None:
            return known
        values = make()
        try:
            fresh = self.open(entry, rows, width, dtype)
            fresh[:] = values
            self.commit(entry, fresh)
        except OSError:
            return values
        known = self.read(entry, rows, width, dtype)
        return values if known is None else known

    def _make_room(self, wanted: int) -> None:
        now = time.time()
        files = []
        for path in self.folder.glob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process made room
            if path.suffix == ".part" and now - status.st_mtime > LITTER_SECONDS:
                path.unlink(missing_ok=True)
            elif path.suffix == ".npy":
                files.append((status.st_mtime, status.st_size, path))
        kept = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if kept + wanted <= self.limit:
                break
            path.unlink(missing_ok=True)
            kept -= size


def _checksum(values: np.ndarray) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(values).tobytes()):08x}"


def key_of(parts: Mapping[str, Any]) -> str:
    """20 hexadecimal digits of everything that decides an array."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
