"""The file of an index: an Arrow stream with a note in its schema's metadata, and a sha256 at its end. No torch."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from carft.core.errors import UserError
from carft.core.files import require_plain_file, write_atomic
from carft.data.index import Column, Index

#: key of the note in the schema's metadata
NOTE = b"carft"
#: bytes of the sha256 at the end of a file
DIGEST = 32


def write_index(path: Path, rows: pa.RecordBatch) -> None:
    """Write the rows of an index and their note atomically, with the folder. Raises ``OSError`` if that fails.

    The file before stays as ``<name>.before``: on a network file system, a process of another machine that has mapped
    a file which is removed would be killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    before = path.with_suffix(".before")
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    content = sink.getvalue().to_pybytes()
    with suppress(OSError):  # there is none, or the file system has no hard links
        before.unlink(missing_ok=True)
        before.hardlink_to(path)
    write_atomic(path, lambda part: part.write_bytes(content + hashlib.sha256(content).digest()))


def read_index(path: Path) -> pa.RecordBatch | None:
    """Return the rows of an index, split by split, memory-mapped.

    None if there is no file, or if its content does not agree with its digest.
    """
    try:
        require_plain_file(path)
        with pa.memory_map(str(path)) as file:
            content = file.read_buffer()
        body = content[: max(0, len(content) - DIGEST)]
        if hashlib.sha256(body).digest() != bytes(content[len(body) :]):
            return None
        with pa.ipc.open_stream(body) as reader:
            return reader.read_next_batch()
    except (OSError, UserError, pa.ArrowInvalid):
        return None


def batch_of(columns: Mapping[str, Any], schema: pa.Schema, note: Mapping[str, Any]) -> pa.RecordBatch:
    """Return the rows of an index with a note. columns: name in the schema -> values."""
    return pa.RecordBatch.from_pydict(columns, schema=schema.with_metadata({NOTE: json.dumps(note).encode()}))


def note_of(rows: pa.RecordBatch) -> dict[str, Any]:
    """Return what an index was made from, JSON values."""
    return json.loads(rows.schema.metadata[NOTE])


def splits_of(rows: pa.RecordBatch, base: Path) -> dict[str, Index]:
    """Return split or domain -> images, of rows with path, label and group. base: folder that paths start at."""
    paths, groups = Column(rows["path"], base.joinpath), Column(rows["group"], str)
    labels = rows["label"].to_pylist()
    first = 0
    splits = {}
    for split, count in note_of(rows)["splits"].items():
        span = slice(first, first + count)
        splits[split] = Index(paths[span], tuple(labels[span]), groups[span])
        first += count
    return splits
