"""The images of a data set in shards, the tar files that ``data pack`` writes, in place of files. No torch.

A shard has a member KEY.<ending of the image> and KEY.cls, the label, for each image, as WebDataset lays them out. The
index of the shards, :data:`FILE`, is the index of the data set, and says where the bytes of an image are, by the path
that its file had. There is nothing at that path: :func:`open_image_file` and :func:`image_status` find the shard, and
all else works as with files.
"""

import errno
import hashlib
import io
import os
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from carft.core.errors import CorruptFile, UserError
from carft.core.files import file_digest, open_plain, require_plain_name
from carft.data.index import note_of, read_index

#: the index of the shards, in the folder of the data set
FILE = "carft-shards.arrow"
#: version of the content of that file
FORMAT = 2
#: one row an image: path, relative to the folder; why it could not be decoded when it was packed, null where it could;
#: number of its shard; place and number of its bytes, and their CRC-32. The last two columns are sorted by key: that of
#: a path, and the row of its image
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("label", pa.int32()),
        pa.field("group", pa.string()),
        pa.field("unreadable", pa.string()),
        pa.field("shard", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("crc32", pa.uint32()),
        pa.field("key", pa.uint64()),
        pa.field("row", pa.int32()),
    ]
)
NUMBERS = ("shard", "offset", "size", "crc32", "key", "row")
COPY_AGAIN = "Copy the folder again, or run data pack again: it keeps the shards that are whole."

#: size in bytes and modification time in nanoseconds
FileStatus = tuple[int, int]
_known: dict[Path, "Shards"] = {}


class Shards:
    """The shards in a folder, open for reading. Raises ``UserError`` where the index or a shard is not whole."""

    def __init__(self, folder: Path) -> None:
        rows = read_index(folder / FILE)
        if rows is None or note_of(rows).get("format") != FORMAT:
            raise CorruptFile(folder / FILE, "it is incomplete or of another version of carft", COPY_AGAIN)
        self.folder, self.rows, self.note = folder, rows, note_of(rows)
        self.names = [require_plain_name(name) for name in self.note["shards"]]
        self.state = _status(folder / FILE)
        self.prefix = len(str(folder / "_")) - 1
        self.numbers = {}
        for name in NUMBERS:  # to_numpy would import pandas
            self.numbers[name] = np.frombuffer(rows[name].buffers()[1], str(SCHEMA.field(name).type), len(rows))
        self.descriptors: list[int] = []
        weakref.finalize(self, _close, self.descriptors)
        for name in self.names:
            path, size = folder / name, self.note["shards"][name]
            try:
                self.descriptors.append(os.open(path, os.O_RDONLY))
            except OSError as error:
                raise UserError(f"'{path}' cannot be opened: {error.strerror}.", COPY_AGAIN) from error
            found = os.fstat(self.descriptors[-1]).st_size
            if found != size:
                raise CorruptFile(path, f"it has {found:,} of {size:,} bytes", COPY_AGAIN)

    def require_same(self, reading: Sequence[Any]) -> None:
        """Raise ``UserError`` if a data set reads its files differently from when they were packed, and if an
        annotation file changed since. reading: of the data set."""
        if self.note["reading"] != list(reading):
            raise UserError(
                f"The shards in '{self.folder}' were packed for another reading of the data set: its name, version or "
                "classes differ.",
                "Run data pack again, from the files.",
            )
        for name, digest in self.note["files"].items():
            path = self.folder / name
            if not path.is_file() or file_digest(path) != digest:
                raise CorruptFile(path, "it is not the one that was packed", COPY_AGAIN)

    def row(self, path: Path) -> int:
        """Return the row of an image. Raises ``FileNotFoundError`` if there is none with this path."""
        name = str(path)[self.prefix :]
        key = key_of(name)
        keys = self.numbers["key"]
        place = int(np.searchsorted(keys, key))
        while place < len(keys) and keys[place] == key:
            row = int(self.numbers["row"][place])
            if self.rows["path"][row].as_py() == name:
                return row
            place += 1
        raise _no_file(path)

    def place(self, row: int) -> tuple[int, int, int]:
        """Return file descriptor, first byte and number of bytes of an image."""
        numbers = self.numbers
        return self.descriptors[numbers["shard"][row]], int(numbers["offset"][row]), int(numbers["size"][row])

    def read(self, row: int) -> bytes:
        """Return the bytes of an image's file. Raises ``OSError`` if they are not those that were packed."""
        descriptor, first, size = self.place(row)
        content = os.pread(descriptor, size, first)
        if len(content) != size or zlib.crc32(content) != self.numbers["crc32"][row]:
            name = self.names[self.numbers["shard"][row]]
            raise OSError(errno.EIO, f"its bytes in the shard '{self.folder / name}' are not those that were packed")
        return content


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _status(path: Path) -> FileStatus:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def key_of(name: str) -> np.uint64:
    """Return the key of a path in the index."""
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def shards_in(folder: Path) -> Shards | None:
    """Return the shards in the folder of a data set; None where its images are files.

    Raises ``UserError`` where the index or a shard is not whole.
    """
    if not (folder / FILE).is_file():
        _known.pop(folder, None)
        return None
    known = _known.get(folder)
    if known is None or known.state != _status(folder / FILE):
        known = _known[folder] = Shards(folder)
    return known


def _in_shards(path: Path) -> tuple[Shards, int]:
    """Return the shards of an image and its row. Raises ``FileNotFoundError`` if no folder above holds it in shards."""
    for folder in path.parents:
        shards = _known.get(folder) or shards_in(folder)
        if shards is not None:
            return shards, shards.row(path)
    raise _no_file(path)


def _no_file(path: Path) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def open_image_file(path: Path) -> io.BufferedReader | io.BytesIO:
    """Open the file of an image for reading, or its bytes in a shard.

    Raises as :func:`carft.core.files.open_plain` and :class:`Shards`.
    """
    try:
        return open_plain(path)
    except FileNotFoundError:
        shards, row = _in_shards(path)
    return io.BytesIO(shards.read(row))


def image_status(path: Path) -> FileStatus:
    """Return the status of the file of an image; of one in a shard, or in a file of many, the time is that of its file.

    Raises as :func:`open_image_file`.
    """
    try:
        return _status(path)
    except NotADirectoryError:  # an image of a packed set
        return _status(path.parent)
    except FileNotFoundError:
        shards, row = _in_shards(path)
    descriptor, _, size = shards.place(row)
    return size, os.fstat(descriptor).st_mtime_ns
