"""The file of an index: one Arrow stream, memory-mapped, with a digest at its end. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from carft.core.files import write_atomic

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
        content, before = self._content(), path.with_suffix(".before")
        with suppress(OSError):  # there is none, or the file system has no hard links
            before.unlink(missing_ok=True)
            before.hardlink_to(path)
        write_atomic(path, lambda part: _write(part, content))

    def _content(self) -> pa.Buffer:
        sink = pa.BufferOutputStream()
        noted = self.rows.replace_schema_metadata({NOTE: json.dumps(self.note).encode()})
        with pa.ipc.new_stream(sink, noted.schema) as writer:
            writer.write_batch(noted)
        return sink.getvalue()


def _write(path: Path, content: pa.Buffer) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.write(hashlib.sha256(content).digest())


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
