"""The index of a data set: its file, an Arrow stream with a digest at its end, and whether it is current. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from carft import __version__
from carft.core.files import write_atomic
from carft.data.columns import Column, numbers
from carft.data.listing import status, statuses
from carft.data.sets import DataSet
from carft.data.trees import folder_names

#: key of the note in the schema's metadata
NOTE = b"carft"
#: bytes of the sha256 at the end of a file
DIGEST = 32
SCHEMA = pa.schema(
    [
        pa.field("split", pa.dictionary(pa.int16(), pa.string())),
        pa.field("path", pa.string()),
        pa.field("label", pa.int32()),
        pa.field("group", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("unreadable", pa.string()),
    ]
)


@dataclass(frozen=True)
class IndexFile:
    """An index as it is stored: one row an image."""

    rows: pa.RecordBatch
    """split; path, relative to the folder of the data set; label; group; size in bytes; mtime_ns, the modification time
    in nanoseconds; unreadable, why the image cannot be decoded, null where it can or where nobody tried."""
    note: Mapping[str, Any]
    """What the index was made from, JSON values."""

    def write(self, path: Path) -> None:
        """Write the file atomically, with its folder. Raises ``OSError`` if it cannot be written.

        The file before stays as ``<name>.before``: on a network file system, a process of another machine that has
        mapped a file which is removed would be killed.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        noted = self.rows.replace_schema_metadata({NOTE: json.dumps(self.note).encode()})
        sink, before = pa.BufferOutputStream(), path.with_suffix(".before")
        with pa.ipc.new_stream(sink, noted.schema) as writer:
            writer.write_batch(noted)
        content = sink.getvalue().to_pybytes()
        with suppress(OSError):  # there is none, or the file system has no hard links
            before.unlink(missing_ok=True)
            before.hardlink_to(path)
        write_atomic(path, lambda part: part.write_bytes(content + hashlib.sha256(content).digest()))


def read_index(path: Path) -> IndexFile | None:
    """Return an index, memory-mapped; None if there is no file, or if its content does not agree with its digest."""
    try:
        with pa.memory_map(str(path)) as file:
            content = file.read_buffer()
        body = content[: max(0, len(content) - DIGEST)]
        if hashlib.sha256(body).digest() != bytes(content[len(body) :]):
            return None
        with pa.ipc.open_stream(body) as reader:
            rows = reader.read_next_batch()
        return IndexFile(rows, json.loads(rows.schema.metadata[NOTE]))
    except (OSError, pa.ArrowInvalid, StopIteration, KeyError, TypeError, ValueError):
        return None


#: version of the content of an index
FORMAT = 1
#: images, evenly spread, whose size and time are compared each time
SPOT = 4096
#: seconds after which size and time of every image are compared again
FULL_AFTER_S = 24 * 3600
#: seconds before an index was made within which a change may have left a time that does not show it
YOUNG_S = 2.0


def index_inputs(data_set: DataSet) -> list[str]:
    """What of the project decides the content of an index, beside the files."""
    labels = hashlib.sha256(json.dumps([data_set.labels, data_set.classes]).encode()).hexdigest()
    return [str(FORMAT), data_set.name, data_set.version, __version__, labels]


def watched(data_set: DataSet, base: Path, paths: Iterable[str]) -> dict[str, Any]:
    """The state of the folders and annotation files of a data set. paths: of its images, relative to ``base``.

    folders: those that hold images -> modification time, which changes when a file comes, goes or is renamed.
    above: the folders above them -> names of the folders in them. files: annotation files -> size and time.
    """
    folders = {path.rpartition("/")[0] for path in paths}
    above = {parent.as_posix() for folder in folders for parent in PurePosixPath(folder).parents}
    files = {*data_set.needs, *data_set.digests, *([data_set.table] if data_set.table else [])}
    return {
        "folders": {name: (base / name).stat().st_mtime_ns for name in sorted(folders)},
        "above": {name: folder_names(base / name) for name in sorted(above)},
        "files": {name: list(status(base / name)) for name in sorted(files) if (base / name).is_file()},
    }


def is_current(index: IndexFile, data_set: DataSet, base: Path, path: Path, full: bool = False) -> bool:
    """Whether the data set in ``base`` is still the one of the index in the file ``path``.

    Compares folders, annotation files and some images; all images if ``full``, or if that was last done more than
    :data:`FULL_AFTER_S` seconds ago.
    """
    note = index.note
    if note.get("identity") != index_inputs(data_set):
        return False
    try:
        if not _same_folders(note, base):
            return False
        full = full or time.time() - path.stat().st_mtime > FULL_AFTER_S
        if not _same_images(index, base, None if full else SPOT):
            return False
    except OSError:
        return False
    if full:
        with suppress(OSError):  # of another user: all images are compared again next time
            os.utime(path)
    return True


def _same_folders(note: Any, base: Path) -> bool:
    latest = (note["made_at"] - YOUNG_S) * 1e9
    for name, when in note["folders"].items():
        if (base / name).stat().st_mtime_ns != when or when > latest:
            return False
    for name, (size, when) in note["files"].items():
        if status(base / name) != (size, when) or when > latest:
            return False
    return all(folder_names(base / name) == names for name, names in note["above"].items())


def _same_images(index: IndexFile, base: Path, most: int | None) -> bool:
    """Whether size and time of the images agree. most: images to look at; None: all."""
    count = index.rows.num_rows
    rows = np.arange(count) if most is None or count <= most else np.linspace(0, count - 1, most).astype(np.int64)
    found = np.array(statuses(Column(index.rows["path"], base.joinpath, rows)), dtype=np.int64).reshape(-1, 2)
    return all(
        np.array_equal(numbers(index.rows[name])[rows], found[:, column])
        for column, name in enumerate(("size", "mtime_ns"))
    )
