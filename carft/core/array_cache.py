"""A disk cache for expensive deterministic arrays, memory-mapped and shared by all processes of a machine."""

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
#: age in seconds at which a temporary file is taken for one of a process that died
STALE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class ArrayCache:
    """A folder of two-dimensional arrays, one file each, named by a key of everything that decides the content.

    A file is written under a temporary name and then renamed, so concurrent writers of one entry, which write the same
    bytes, are safe. The file name holds a checksum; a corrupt file does not match it and is computed again.
    """

    folder: Path
    limit: int = 10 * GIB
    """Largest total size in bytes. The least recently used files are removed to make space for a new one."""

    def read(self, entry: str, rows: int, width: int, dtype: np.dtype) -> np.ndarray | None:
        """Return the array (rows, width) of an entry, memory-mapped copy-on-write; None if there is no valid file."""
        for path in self.folder.glob(f"{entry}-*.npy"):
            try:
                values = np.load(path, mmap_mode="c", allow_pickle=False)
                os.utime(path)  # for the order of removal
            except (OSError, ValueError):
                continue
            valid = values.shape == (rows, width) and values.dtype == dtype
            if valid and path.name == f"{entry}-{_checksum(values)}.npy":
                return values
        return None

    def open(self, entry: str, rows: int, width: int, dtype: np.dtype) -> np.memmap:
        """Create a temporary file for an entry, memory-mapped. :meth:`read` finds it after :meth:`commit`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._free_space(rows * width * dtype.itemsize)
        part = self.folder / f"{entry}.{os.getpid()}-{uuid4().hex[:8]}.part"
        values = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=(rows, width))
        try:
            with part.open("rb+") as file:  # a full disk raises here; writing a page would kill the process
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return values

    def commit(self, entry: str, values: np.memmap) -> None:
        """Make a filled file visible to :meth:`read`."""
        values.flush()
        path = Path(str(values.filename))
        path.replace(self.folder / f"{entry}-{_checksum(values)}.npy")

    def discard(self, values: np.memmap) -> None:
        """Remove a temporary file."""
        Path(str(values.filename)).unlink(missing_ok=True)

    def get(self, entry: str, rows: int, width: int, dtype: np.dtype, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array of an entry; compute and store it if it is missing. An unwritable folder is no error."""
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

    def _free_space(self, wanted: int) -> None:
        now = time.time()
        files = []
        for path in self.folder.glob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process removed it
            if path.suffix == ".part" and now - status.st_mtime > STALE_SECONDS:
                path.unlink(missing_ok=True)
            elif path.suffix == ".npy":
                files.append((status.st_mtime, status.st_size, path))
        used = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if used + wanted <= self.limit:
                break
            path.unlink(missing_ok=True)
            used -= size


def _checksum(values: np.ndarray) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(values).tobytes()):08x}"


def key_of(parts: Mapping[str, Any]) -> str:
    """Return a key of 20 hexadecimal digits for the JSON values that decide an array."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
