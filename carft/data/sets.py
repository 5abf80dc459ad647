"""Data sets on disk: their catalog entries. A subclass of :class:`DataSet` reads the files of a layout. No torch.

A task's card names the data sets that it is made of. The commands ``data ls``, ``check``, ``fetch`` and ``fixture``
work on data sets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pyarrow as pa

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.data.card import Card
from carft.data.fixtures import MARKER, is_fixture

Value = TypeVar("Value")
#: values of a column that an iteration makes at a time
CHUNK = 8192


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
        labels = tuple(label for part in parts for label in part.labels)
        return Index(together([part.paths for part in parts]), labels, together([part.groups for part in parts]))

    def rows(self, index: Sequence[int]) -> Index:
        """Return the images of these rows, in this order."""
        labels = tuple(self.labels[i] for i in index)
        return Index(rows_of(self.paths, index), labels, rows_of(self.groups, index))

    def without(self, paths: Collection[Path]) -> Index:
        """Return the images that are not among these."""
        if not paths:
            return self
        return self.rows([i for i, path in enumerate(self.paths) if path not in paths])


@dataclass(frozen=True)
class Download:
    """A file that may be downloaded."""

    url: str
    md5: str = ""
    """Expected digest; empty if none is known."""
    into: str = ""
    """Folder under the data root where the archive is unpacked or the single file is stored."""

    @property
    def name(self) -> str:
        """The file name in the URL."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set's entry in the catalog. A subclass reads its files."""

    packed: ClassVar[bool] = False
    """Whether one file holds many images. The path of such an image is its file and a number."""

    name: str
    folder: str
    """Folder under the data root."""
    measures: str
    """One line about the data set, for people."""
    classes: tuple[str, ...]
    """Class names as words, in label order."""
    counts: Mapping[str, int]
    """Split or domain -> images of the real set."""
    licence: str
    source: str
    """Where the set can be obtained."""
    version: str = "1"
    """Raised when this project reads the set differently."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """File in the folder -> md5 or sha256 of the real set's annotation file or archive, as far as known."""
    labels: tuple[str, ...] = ()
    """Class names in the set's own files, in label order; empty if they equal ``classes``."""
    needs: tuple[str, ...] = ()
    """Required files and folders, relative to the folder. An index is made again when one of these files changes."""
    table: str = ""
    """File in the folder that lists the images; empty where the layout does."""
    archives: tuple[Download, ...] = ()
    """What ``data fetch`` downloads; empty if the set must be obtained by hand."""

    @property
    def origin(self) -> str:
        """Source and licence, as sentences."""
        return f"Its source: {self.source}. Licence: {self.licence}."

    def card(self, **facts: Any) -> Card:
        """Return the card of a task that is trained on this set at paper scale. facts: its other fields."""
        own = {"name": self.name, "measures": self.measures, "data_sets": (self.name,)}
        same = {name: getattr(self, name) for name in ("classes", "licence", "source", "folder")}
        return Card(**{**own, **same, **facts}, scale="paper", group="image", loader="")

    def listed(self, root: Path) -> dict[str, Index]:
        """Return split or domain -> images of a set that is there. Raises ``UserError`` if it is incomplete."""
        raise NotImplementedError

    def draw(self, root: Path) -> None:
        """Fill the folder of a fixture with a small fake tree in the real layout."""
        raise NotImplementedError

    def index(self, root: Path) -> dict[str, Index]:
        """Return split or domain -> images. Raises ``UserError`` if the set is missing or incomplete."""
        self.require_present(root)
        return self.listed(root)

    def listed_with_facts(self, root: Path) -> tuple[dict[str, Index], dict[str, Any]]:
        """Return what :meth:`index` does, and other facts, JSON values, that an index file keeps."""
        return self.index(root), {}

    def fixture(self, root: Path) -> None:
        """Write a small fake tree in the real layout under ``root``, with a marker file.

        Raises ``UserError`` if the folder holds other files or cannot be written.
        """
        folder = root / self.folder
        note = {"fixture": self.name, "note": "Drawn by carft in the layout of the real set. No image here is real."}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not is_fixture(folder) and any(folder.iterdir()):  # fixtures and real images must not mix
                hint = "Give --data a folder without this data set."
                raise UserError(f"'{folder}' holds files and is not a fixture.", hint)
            (folder / MARKER).write_text(json.dumps(note, indent=1), encoding="utf-8")
        except OSError as error:
            hint = "Give --data another folder."
            raise UserError(f"'{folder}' cannot be written: {error.strerror}.", hint) from error
        self.draw(root)

    def require_present(self, root: Path) -> None:
        """Raise ``UserError`` if a file or folder of ``needs`` does not exist. Opens no file."""
        for need in self.needs:
            if not (root / self.folder / need).exists():
                raise self.missing(root, root / self.folder / need)

    def missing(self, root: Path, path: Path, more: int = 0) -> UserError:
        """Return the error for a missing ``path`` and ``more`` other missing files."""
        others = f", and {more} more" if more else ""
        state = "is incomplete" if (root / self.folder).exists() else "is not here"
        command = typed("data", "fetch", self.name, "--data", str(root))
        fetch = f"Download it with: {command}. " if self.archives else ""
        return UserError(
            f"The data set {self.name} {state}: there is no '{path}'{others}.",
            f"{fetch}{self.origin}",
        )


# columns of an index


class Column(Sequence[Value], Generic[Value]):
    """Rows of a column as values that are made when they are asked for. It equals a tuple of the same values.

    values: the column, which all processes of a machine share when it is memory-mapped. made: from an entry to a value.
    picked: (N,) rows of the column; default: all.
    """

    def __init__(self, values: pa.Array, made: Callable[[Any], Value], picked: np.ndarray | None = None) -> None:
        self.values, self.made = values, made
        self.picked = np.arange(len(values), dtype=np.int32) if picked is None else picked.astype(np.int32)

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
        picked = self.picked[index if isinstance(index, slice) else np.asarray(index, dtype=np.int64)]
        return Column(self.values, self.made, picked)


def rows_of(values: Sequence[Value], index: Sequence[int]) -> Sequence[Value]:
    """Return the values of these rows, in this order: a column of a column, a tuple of anything else."""
    return values.rows(index) if isinstance(values, Column) else tuple(values[i] for i in index)


def together(parts: Sequence[Sequence[Value]]) -> Sequence[Value]:
    """Concatenate sequences: rows of one column to a column, anything else to a tuple."""
    first = parts[0]
    if isinstance(first, Column) and all(isinstance(one, Column) and one.values is first.values for one in parts):
        return Column(first.values, first.made, np.concatenate([one.picked for one in parts]))  # type: ignore[attr-defined]
    return tuple(value for part in parts for value in part)
