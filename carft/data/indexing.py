"""The index of a data set: made once, memory-mapped by every process, in place of listing all files. No torch.

ROOT/carft-index/<data set>.arrow where that can be written, otherwise a file in :func:`own_folder`, as for your own
data. What an index holds is exactly what the layout of the data set lists.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from carft.core.errors import UserError
from carft.core.files import locked, require_text
from carft.core.heartbeat import heartbeat
from carft.data.columns import Column
from carft.data.index_file import SCHEMA, IndexFile, index_inputs, is_current, read_index, watched
from carft.data.listing import digest_of, shared_of, statuses, unreadable
from carft.data.sets import DataSet, Index

#: (path, size, time) of an image that was decoded -> why that failed; None where it did not
Decoded = Mapping[tuple[str, int, int], str | None]

FOLDER = "carft-index"
#: names another place for indexes that cannot lie beside the data
VARIABLE, OWN = "CARFT_INDEXES", "~/.cache/carft/indexes"


@dataclass(frozen=True)
class Indexed:
    """A data set as its index has it."""

    splits: Mapping[str, Index]
    """Split or domain -> all its images."""
    digest: str
    """sha256 of :func:`carft.data.listing.digest_of`."""
    shared: Sequence[str]
    """Images that are listed more than once."""
    unreadable: Mapping[Path, str]
    """Path -> why it cannot be decoded; empty unless that was asked for."""
    path: Path | None = None
    """The file of the index; None where none is kept, as for packed sets."""
    made: bool = False
    """Whether the index was made now."""


def own_folder() -> Path:
    """The folder of indexes that cannot lie beside the data."""
    return Path(os.environ.get(VARIABLE) or OWN).expanduser()


def indexed(data_set: DataSet, root: Path, decoded: bool = False, full: bool = False, anew: bool = False) -> Indexed:
    """Return a data set from its index; make the index if there is none, or if the data set changed.

    decoded: also find the images that cannot be decoded, unless the index holds them. full: compare size and time of
    every image. anew: list and, if ``decoded``, decode everything, whatever the index holds. Other processes of this
    machine wait meanwhile. Raises ``UserError`` if the set is missing or incomplete.
    """
    base = root / data_set.folder
    if data_set.packed:
        splits = data_set.index(root)
        return Indexed(splits, digest_of(base, splits), shared_of(base, splits), {})

    def make() -> IndexFile:
        known = {} if anew else _known(data_set, root)
        return index_file(data_set, root, data_set.index(root), decoded, known)

    index, path, made = kept_index(data_set, root, make, decoded, full, anew)
    return _opened(index, base, decoded, path, made)


def kept_index(
    data_set: DataSet,
    root: Path,
    make: Callable[[], IndexFile],
    decoded: bool = False,
    full: bool = False,
    anew: bool = False,
) -> tuple[IndexFile, Path | None, bool]:
    """Return an index, memory-mapped; its file, None where none can be written; and whether it was made now.

    make: makes the index, where there is no current one. The other arguments are those of :func:`indexed`.
    """
    if not anew and (current := _current(data_set, root, decoded, full)):
        return *current, False
    with _making(data_set, root):
        if not anew and (current := _current(data_set, root, decoded, full)):  # another process made it meanwhile
            return *current, False
        return *_stored(data_set, root, make()), True


def current_index(data_set: DataSet, root: Path) -> Indexed | None:
    """Return a data set from an index that knows which images cannot be decoded; None if there is none."""
    current = _current(data_set, root, decoded=True, full=False)
    return _opened(current[0], root / data_set.folder, True, current[1]) if current else None


def _places(data_set: DataSet, root: Path) -> list[Path]:
    """Files in which the index may lie, in the order in which they are tried."""
    beside = [] if Path(data_set.folder).is_absolute() else [root / FOLDER / f"{data_set.name}.arrow"]
    name = f"{data_set.name.rpartition('/')[2][:40]}-{_key(data_set, root / data_set.folder)}.arrow"
    return [*beside, own_folder() / name]


def _key(data_set: DataSet, base: Path) -> str:
    named = os.fsencode(f"{data_set.name}\0{base.resolve()}")
    return hashlib.sha256(named).hexdigest()[:16]


def _current(data_set: DataSet, root: Path, decoded: bool, full: bool) -> tuple[IndexFile, Path] | None:
    for path in _places(data_set, root):
        index = read_index(path)
        if index is None or (decoded and not index.note.get("decoded")):
            continue
        if is_current(index, data_set, root / data_set.folder, path, full):
            return index, path
    return None


def parts_of(index: IndexFile, base: Path) -> dict[str, Index]:
    """Return split or domain -> images of an index. base: the folder of the data set."""
    paths, groups = Column(index.rows["path"], base.joinpath), Column(index.rows["group"], str)
    labels, first, parts = index.rows["label"].to_pylist(), 0, {}
    for split, count in index.note["splits"].items():
        span = slice(first, first + count)
        parts[split] = Index(paths[span], tuple(labels[span]), groups[span])
        first += count
    return parts


def _opened(index: IndexFile, base: Path, decoded: bool, path: Path | None, made: bool = False) -> Indexed:
    broken = {}
    if decoded:
        reasons = zip(index.rows["path"].to_pylist(), index.rows["unreadable"].to_pylist(), strict=True)
        broken = {base / name: why for name, why in reasons if why is not None}
    return Indexed(parts_of(index, base), index.note["digest"], index.note["shared"], broken, path, made)


@contextmanager
def _making(data_set: DataSet, root: Path) -> Iterator[None]:
    """Hold the lock of the index on this machine. If no lock file can be written, hold nothing."""
    lock = own_folder() / f"{_key(data_set, root / data_set.folder)}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError:
        yield
        return
    with locked(lock, waiting=heartbeat):
        yield


def _known(data_set: DataSet, root: Path) -> Decoded:
    """(path, size, time) -> why it cannot be decoded, of the images that an earlier index decoded."""
    for index in map(read_index, _places(data_set, root)):
        if index is not None and index.note.get("decoded") and index.note["identity"][0] == index_inputs(data_set)[0]:
            columns = [index.rows[name].to_pylist() for name in ("path", "size", "mtime_ns", "unreadable")]
            return {(path, size, when): reason for path, size, when, reason in zip(*columns, strict=True)}
    return {}


def index_file(
    data_set: DataSet,
    root: Path,
    parts: Mapping[str, Index],
    decoded: bool = False,
    known: Decoded | None = None,
    split_of: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> IndexFile:
    """Return an index of images that were just listed. Raises ``UserError`` for images that changed meanwhile.

    parts: split or domain -> images. decoded: also find images that cannot be decoded, but for those that are
    ``known``. split_of: group -> split; default: the names of the parts. more: further facts for the note.
    """
    base, made_at = root / data_set.folder, time.time()
    files = [path for part in parts.values() for path in part.paths]
    groups = [group for part in parts.values() for group in part.groups]
    names = [path.relative_to(base).as_posix() for path in files]
    for name in names:
        require_text(f"{base}/{name}")
    try:
        states, folders = statuses(files), watched(data_set, base, names)
    except OSError as error:
        raise UserError(
            f"'{base}' changed while it was listed: '{error.filename}', {error.strerror}.",
            "Run the command again once nothing is written there.",
        ) from error
    note = {
        "identity": index_inputs(data_set),
        "made_at": made_at,
        "decoded": decoded,
        "splits": {split: len(part) for split, part in parts.items()},
        "digest": digest_of(base, parts, [size for size, _ in states]),
        "shared": shared_of(base, parts),
        **folders,
        **(more or {}),
    }
    reasons: list[str | None] = [None] * len(files)
    if decoded:
        keys = [(name, *state) for name, state in zip(names, states, strict=True)]
        earlier = known or {}
        broken = unreadable([file for file, key in zip(files, keys, strict=True) if key not in earlier])
        reasons = [broken.get(file, earlier.get(key)) for file, key in zip(files, keys, strict=True)]
    columns = {
        "split": [split_of[group] for group in groups]
        if split_of
        else [split for split, part in parts.items() for _ in range(len(part))],
        "path": names,
        "label": [label for part in parts.values() for label in part.labels],
        "group": groups,
        "size": [size for size, _ in states],
        "mtime_ns": [when for _, when in states],
        "unreadable": reasons,
    }
    return IndexFile(pa.RecordBatch.from_pydict(columns, schema=SCHEMA), note)


def _stored(data_set: DataSet, root: Path, index: IndexFile) -> tuple[IndexFile, Path | None]:
    """Write the index to the first place that can be written; returns it memory-mapped, and its file."""
    for path in _places(data_set, root):
        with suppress(OSError):
            index.write(path)
            if (stored := read_index(path)) is not None:
                return stored, path
    return index, None
