"""A disk cache for expensive deterministic arrays, memory-mapped and shared by all processes of a machine."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np

from carft.core.errors import UserError
from carft.core.files import locked, require_plain_file, try_lock

GIB = 2**30
#: hexadecimal digits of the digests in the names of files
DIGITS = 32
#: seconds after the last use of a file after which it may be removed
IDLE_SECONDS = 24 * 3600
#: file that a process locks while it looks for space
LOCK = "cache.lock"


@dataclass(frozen=True)
class Stored:
    """An array with the digest of its content, as it was read or made."""

    values: np.ndarray
    digest: str
    """As of :func:`array_digest`."""


@dataclass(frozen=True)
class Draft:
    """A file that is being written. :meth:`ArrayCache.read` finds it after :meth:`ArrayCache.commit`."""

    entry: str
    path: Path
    """The temporary file."""
    values: np.memmap
    """The array (rows, width), memory-mapped, to be filled."""
    lock: BinaryIO
    """The file, locked as long as its process lives."""


@dataclass(frozen=True)
class ArrayCache:
    """A folder of two-dimensional arrays, one file each, named by a key of everything that decides the content.

    A file is written under a temporary name and then renamed. The file name holds a digest; a corrupt file does not
    match it and is computed again. What was used is known by its digest, which records hold. The features of all epochs
    are read in turn, again and again, so the least recently used file is the one that is read next, and the worst to
    remove. A file stays for a day after its last use instead, and what does not fit beside it is not stored.
    """

    folder: Path
    limit: int = 10 * GIB
    """Largest total size in bytes, files that are being written included."""

    def read(self, entry: str, rows: int, width: int, dtype: np.dtype) -> Stored | None:
        """Return the array (rows, width) of an entry, memory-mapped copy-on-write; None if there is no valid file."""
        for path in self.folder.glob(f"{entry}-{'?' * DIGITS}.npy"):
            try:
                require_plain_file(path)
                values = np.load(path, mmap_mode="c", allow_pickle=False)
            except (OSError, ValueError, EOFError, UserError):
                continue
            with suppress(OSError):  # a folder that cannot be written can be read
                os.utime(path)  # it is in use
            if values.shape != (rows, width) or values.dtype != dtype:
                continue
            digest = array_digest(values)
            if path.name == f"{entry}-{digest}.npy":
                return Stored(values, digest)
        return None

    def open(self, entry: str, rows: int, width: int, dtype: np.dtype, share: float = 1.0) -> Draft | None:
        """Create a temporary file for an entry. None if it does not fit, or if a live process is writing the entry.

        Removes idle files to make space. share: of the limit that may be filled, in (0, 1]. Raises ``OSError`` if the
        folder cannot be written or the disk is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / LOCK):
            for part in self.folder.glob(f"{entry}.*.part"):
                with suppress(FileNotFoundError), part.open("rb+") as other:  # NFS locks for writers
                    if not try_lock(other.fileno()):
                        return None
                    part.unlink()  # its process died
            if not self.free_space(rows * width * dtype.itemsize, int(share * self.limit)):
                return None
            part = self.folder / f"{entry}.{uuid4().hex[:8]}.part"
            values = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=(rows, width))
            draft = Draft(entry, part, values, part.open("rb+"))
            try:  # a full disk raises here; writing a page would kill the process
                os.posix_fallocate(draft.lock.fileno(), 0, part.stat().st_size)
                try_lock(draft.lock.fileno())
            except OSError:
                self.discard(draft)
                raise
            return draft

    def commit(self, draft: Draft) -> str:
        """Make a filled file visible to :meth:`read`, and return the digest of its content."""
        draft.values.flush()
        digest = array_digest(draft.values)
        draft.path.replace(self.folder / f"{draft.entry}-{digest}.npy")
        draft.lock.close()
        return digest

    def discard(self, draft: Draft) -> None:
        """Remove a temporary file."""
        draft.path.unlink(missing_ok=True)
        draft.lock.close()

    def get(self, entry: str, rows: int, width: int, dtype: np.dtype, make: Callable[[], np.ndarray]) -> Stored:
        """Return the array of an entry; compute it if it is missing, and store it if it fits and can be written."""
        stored = self.filled(entry, rows, width, dtype, lambda values: np.copyto(values, make()))
        if stored is None:
            values = make()
            stored = Stored(values, array_digest(values))
        return stored

    def filled(
        self, entry: str, rows: int, width: int, dtype: np.dtype, fill: Callable[[np.ndarray], None]
    ) -> Stored | None:
        """Return the array of an entry; where it is missing ``fill`` writes it into its file, which needs no memory.

        None if it does not fit or cannot be written, or if a live process is writing it.
        """
        stored = self.read(entry, rows, width, dtype)
        if stored is not None:
            return stored
        try:
            draft = self.open(entry, rows, width, dtype)
            if draft is None:
                return None
            try:
                fill(draft.values)
            except BaseException:
                self.discard(draft)
                raise
            self.commit(draft)
        except OSError:
            return None
        return self.read(entry, rows, width, dtype)

    def free_space(self, wanted: int, limit: int) -> bool:
        """Whether ``wanted`` bytes fit into ``limit``, once idle files are removed, the oldest first."""
        files = []  # (time of last use, bytes, path)
        for path in [*self.folder.glob("*.npy"), *self.folder.glob("*.part")]:
            with suppress(FileNotFoundError):  # another process removed it
                files.append((path.stat().st_mtime, path.stat().st_size, path))
        used = sum(size for _, size, _ in files)
        idle = sorted(file for file in files if file[0] < time.time() - IDLE_SECONDS)
        removable = sum(size for _, size, _ in idle)
        if used - removable + wanted > limit:
            return False
        for _, size, path in idle:
            if used + wanted <= limit:
                break
            path.unlink(missing_ok=True)
            used -= size
        return True


def array_digest(values: np.ndarray) -> str:
    """Return 32 hexadecimal digits of sha256 of the bytes of an array."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()[:DIGITS]


def key_of(parts: Mapping[str, Any]) -> str:
    """Return a key of 20 hexadecimal digits for the JSON values that decide an array."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
