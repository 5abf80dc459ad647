"""The images of a split or domain as an index lists them, its columns, and its file. No torch.

The file is an Arrow stream with a note in its schema's metadata, and a sha256 at its end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa

from carft.core.errors import UserError
from carft.core.files import require_plain_file, write_atomic

Value = TypeVar("Value")

#: values of a column that an iteration makes at a time
CHUNK = 8192
#: key of the note in the schema's metadata
NOTE = b"carft"
#: bytes of the sha256 at the end of a file
DIGEST = 32


@dataclass(frozen=True)
class Index:
    """The images of one split or domain, in a fixed order."""

    paths: Sequence[Path]
    labels: tuple[int, ...]
    """Positions in the class list of the data set."""
    groups: Sequence[str]
    """Resampling unit of each image, usually its file name. Images of one scene or person share one."""

    def __len__(self) -> int:
        return len(self.paths)

    @staticmethod
    def of(parts: Sequence[Index]) -> Index:
        """Return the images of all parts, one after the other."""
        paths = together([part.paths for part in parts])
        groups = together([part.groups for part in parts])
        labels: list[int] = []
        for part in parts:
            labels.extend(part.labels)
        return Index(paths, tuple(labels), groups)

    def rows(self, index: Sequence[int]) -> Index:
        """Return the images of these rows, in this order."""
        labels = tuple(self.labels[i] for i in index)
        return Index(rows_of(self.paths, index), labels, rows_of(self.groups, index))


class Column(Sequence[Value], Generic[Value]):
    """Rows of a column as values that are made when they are asked for. It equals a tuple of the same values.

    values: the column, which all processes of a machine share when it is memory-mapped. made: from an entry to a value.
    picked: (N,) rows of the column; default: all.
    """

    def __init__(self, values: pa.Array, made: Callable[[Any], Value], picked: np.ndarray | None = None) -> None:
        self.values, self.made = values, made
        if picked is None:
            picked = np.arange(len(values))
        self.picked = picked.astype(np.int32)

    def __len__(self) -> int:
        return len(self.picked)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self.rows(index)
        return self.made(self.values[int(self.picked[index])].as_py())

    def __iter__(self) -> Iterator[Value]:
        for first in range(0, len(self), CHUNK):
            chunk = np.ascontiguousarray(self.picked[first : first + CHUNK])
            # made without pa.array, which would import pandas
            rows = pa.Array.from_buffers(pa.int32(), len(chunk), [None, pa.py_buffer(chunk)])
            yield from map(self.made, self.values.take(rows).to_pylist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str) or len(other) != len(self):
            return False
        return all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal tuples have a hash of their own

    def rows(self, index: Sequence[int] | slice) -> Column[Value]:
        """Return the values of these rows, in this order."""
        chosen = index if isinstance(index, slice) else np.asarray(index, dtype=np.int64)
        return Column(self.values, self.made, self.picked[chosen])


def rows_of(values: Sequence[Value], index: Sequence[int]) -> Sequence[Value]:
    """Return the values of these rows, in this order: a column of a column, a tuple of anything else."""
    if isinstance(values, Column):
        return values.rows(index)
    return tuple(values[row] for row in index)


def together(parts: Sequence[Sequence[Value]]) -> Sequence[Value]:
    """Concatenate sequences: rows of one column to a column, anything else to a tuple."""
    first = parts[0]
    if not isinstance(first, Column):
        return tuple(chain.from_iterable(parts))
    picked = [one.picked for one in parts if isinstance(one, Column) and one.values is first.values]
    if len(picked) < len(parts):
        return tuple(chain.from_iterable(parts))
    return Column(first.values, first.made, np.concatenate(picked))


# its file


def write_index(path: Path, rows: pa.RecordBatch) -> None:
    """Write the rows of an index and their note atomically, with the folder. Raises ``OSError`` if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    content = sink.getvalue().to_pybytes()
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
