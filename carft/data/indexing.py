"""The index of a data set: made once, memory-mapped by every process, in place of listing all files. No torch.

ROOT/carft-index/<data set>.arrow where that can be written, otherwise a file in :func:`own_folder`, as for your own
data. What an index holds is exactly what the layout of the data set lists.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from carft.core.errors import UserError
from carft.core.files import require_text
from carft.core.heartbeat import heartbeat
from carft.core.locking import locked
from carft.data.columns import Column
from carft.data.index_file import SCHEMA, IndexFile, read_index
from carft.data.index_state import identity, is_current, watched
from carft.data.listing import Status, digest_of, shared_of, statuses, unreadable
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
    names: Sequence[str] = ()
    """Paths of all images, split by split, relative to the folder; empty for packed sets."""
    sizes: Sequence[int] = ()
    """Sizes of the same files in bytes; empty for packed sets."""
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
    if data_set.packed:
        splits, base = data_set.index(root), root / data_set.folder
        return Indexed(splits, digest_of(base, splits), shared_of(base, splits), {})
    if not anew and (found := _current(data_set, root, decoded, full)):
        return found
    with making(data_set, root):
        if not anew and (found := _current(data_set, root, decoded, full)):  # another process made it meanwhile
            return found
        known = {} if anew else _known(data_set, root)
        index, path = _stored(data_set, root, _listed(data_set, root, decoded, known))
        return _opened(index, root / data_set.folder, decoded, path, made=True)


def current_index(data_set: DataSet, root: Path) -> Indexed | None:
    """Return a data set from an index that knows which images cannot be decoded; None if there is none."""
    return _current(data_set, root, decoded=True, full=False)


def _places(data_set: DataSet, root: Path) -> list[Path]:
    """Files in which the index may lie, in the order in which they are tried."""
    beside = [] if Path(data_set.folder).is_absolute() else [root / FOLDER / f"{data_set.name}.arrow"]
    return [*beside, own_place(data_set, root)]


def own_place(data_set: DataSet, root: Path) -> Path:
    """The file of an index that cannot lie beside the data."""
    name = f"{data_set.name.rpartition('/')[2][:40]}-{_key(data_set, root / data_set.folder)}.arrow"
    return own_folder() / name


def _key(data_set: DataSet, base: Path) -> str:
    named = os.fsencode(f"{data_set.name}\0{base.resolve()}")
    return hashlib.sha256(named).hexdigest()[:16]


def _current(data_set: DataSet, root: Path, decoded: bool, full: bool) -> Indexed | None:
    base = root / data_set.folder
    for path in _places(data_set, root):
        index = read_index(path)
        if index is None or (decoded and not index.note.get("decoded")):
            continue
        if is_current(index, data_set, base, path, full):
            return _opened(index, base, decoded, path)
    return None


def _opened(index: IndexFile, base: Path, decoded: bool, path: Path | None, made: bool = False) -> Indexed:
    rows, note, first = index.rows, index.note, 0
    paths, groups = Column(rows["path"], base.joinpath), Column(rows["group"], str)
    labels = rows["label"].to_pylist()
    splits = {}
    for split, count in note["splits"].items():
        span = slice(first, first + count)
        splits[split] = Index(paths[span], tuple(labels[span]), groups[span])
        first += count
    broken = {}
    if decoded:
        broken = {paths[row]: why for row, why in enumerate(rows["unreadable"].to_pylist()) if why is not None}
    names, sizes = Column(rows["path"], str), rows["size"].to_pylist()
    return Indexed(splits, note["digest"], note["shared"], broken, names, sizes, path, made)


@contextmanager
def making(data_set: DataSet, root: Path) -> Iterator[None]:
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
        if index is not None and index.note.get("decoded") and index.note["identity"][0] == identity(data_set)[0]:
            columns = [index.rows[name].to_pylist() for name in ("path", "size", "mtime_ns", "unreadable")]
            return {(path, size, when): reason for path, size, when, reason in zip(*columns, strict=True)}
    return {}


def _listed(data_set: DataSet, root: Path, decoded: bool, known: Decoded) -> IndexFile:
    """List a data set. decoded: also find images that cannot be decoded, but for those that are ``known``."""
    base, made_at = root / data_set.folder, time.time()
    splits = data_set.index(root)
    files = [path for index in splits.values() for path in index.paths]
    names = [path.relative_to(base).as_posix() for path in files]
    for name in names:
        require_text(f"{base}/{name}")
    try:
        found, state = statuses(files), watched(data_set, base, names)
    except OSError as error:
        raise UserError(
            f"'{base}' changed while it was listed: '{error.filename}', {error.strerror}.",
            "Run the command again once nothing is written there.",
        ) from error
    note = {
        "identity": identity(data_set),
        "made_at": made_at,
        "decoded": decoded,
        "splits": {split: len(index) for split, index in splits.items()},
        "digest": digest_of(base, splits, [size for size, _ in found]),
        "shared": shared_of(base, splits),
        **state,
    }
    reasons: list[str | None] = [None] * len(files)
    if decoded:
        reasons = _reasons(files, [(name, *one) for name, one in zip(names, found, strict=True)], known)
    split_of_each = [split for split, index in splits.items() for _ in range(len(index))]
    return IndexFile(rows_of_index(splits.values(), split_of_each, names, found, reasons), note)


def _reasons(files: Sequence[Path], keys: Sequence[tuple[str, int, int]], known: Decoded) -> list[str | None]:
    """Why each image cannot be decoded, None where it can. keys: path, size and time of each."""
    broken = unreadable([file for file, key in zip(files, keys, strict=True) if key not in known])
    return [broken.get(file, known.get(key)) for file, key in zip(files, keys, strict=True)]


def rows_of_index(
    parts: Collection[Index],
    splits: Sequence[str],
    names: Sequence[str],
    found: Sequence[Status],
    reasons: Sequence[str | None],
) -> pa.RecordBatch:
    """Return the rows of an index of some images, in their order.

    parts: labels and groups of the images. splits, names, found, reasons: of each image its split, its path relative to
    the folder of the data set, its status, and why it cannot be decoded.
    """
    columns = {
        "split": splits,
        "path": names,
        "label": [label for index in parts for label in index.labels],
        "group": [group for index in parts for group in index.groups],
        "size": [size for size, _ in found],
        "mtime_ns": [when for _, when in found],
        "unreadable": reasons,
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def _stored(data_set: DataSet, root: Path, index: IndexFile) -> tuple[IndexFile, Path | None]:
    """Write the index to the first place that can be written; returns it memory-mapped, and its file."""
    for path in _places(data_set, root):
        with suppress(OSError):
            index.write(path)
            if (stored := read_index(path)) is not None:
                return stored, path
    return index, None
