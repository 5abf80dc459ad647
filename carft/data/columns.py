"""Columns of an index as sequences whose values are made when they are asked for. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np
import pyarrow as pa

Value = TypeVar("Value")
#: values that an iteration makes at a time
CHUNK = 8192


class Column(Sequence[Value], Generic[Value]):
    """Rows of a column of text. It equals a tuple of the same values.

    values: the column, which all processes of a machine share when it is memory-mapped. made: from a text to a value.
    picked: (N,) rows of the column; default: all.
    """

    def __init__(self, values: pa.StringArray, made: Callable[[str], Value], picked: np.ndarray | None = None) -> None:
        self.values, self.made = values, made
        self.picked = np.arange(len(values), dtype=np.int32) if picked is None else picked.astype(np.int32)

    def __len__(self) -> int:
        return len(self.picked)

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> Column[Value]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Column(self.values, self.made, self.picked[index])
        return self.made(self.values[int(self.picked[index])].as_py())

    def __iter__(self) -> Iterator[Value]:
        for first in range(0, len(self), CHUNK):
            yield from map(self.made, self.values.take(_indices(self.picked[first : first + CHUNK])).to_pylist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str) or len(other) != len(self):
            return False
        return all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal tuples have a hash of their own

    def rows(self, index: Sequence[int]) -> Column[Value]:
        """The values of these rows, in this order."""
        return Column(self.values, self.made, self.picked[np.asarray(index, dtype=np.int64)])


def _indices(picked: np.ndarray) -> pa.Int32Array:
    """The same numbers for Arrow, without a copy; ``pa.array`` would import pandas."""
    return pa.Array.from_buffers(pa.int32(), len(picked), [None, pa.py_buffer(np.ascontiguousarray(picked))])


def numbers(column: pa.Int64Array) -> np.ndarray:
    """(N,) int64 of a column without nulls, without a copy; ``to_numpy`` would import pandas."""
    return np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column)]


def rows_of(values: Sequence[Value], index: Sequence[int]) -> Sequence[Value]:
    """The values of these rows, in this order: a column of a column, a tuple of anything else."""
    return values.rows(index) if isinstance(values, Column) else tuple(values[i] for i in index)


def together(parts: Sequence[Sequence[Value]]) -> Sequence[Value]:
    """Concatenate sequences: rows of one column to a column, anything else to a tuple."""
    first = parts[0]
    if isinstance(first, Column) and all(isinstance(one, Column) and one.values is first.values for one in parts):
        return Column(first.values, first.made, np.concatenate([one.picked for one in parts]))  # type: ignore[attr-defined]
    return tuple(value for part in parts for value in part)
