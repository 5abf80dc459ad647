"""The index of a data set: made once, memory-mapped by every process, in place of listing all files. No torch.

ROOT/carft-index/<data set>.arrow where that can be written, otherwise a file in :func:`own_folder`, as for your own
data. It is an Arrow stream with a digest at its end. What it holds is exactly what the layout of the data set lists.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from carft import __version__
from carft.core.errors import UserError
from carft.core.files import locked, require_text, write_atomic
from carft.core.heartbeat import heartbeat
from carft.data.columns import Column, numbers
from carft.data.listing import digest_of, shared_of, status, statuses, unreadable
from carft.data.sets import DataSet, Index
from carft.data.trees import folder_names

FOLDER = "carft-index"
#: names another place for indexes that cannot lie beside the data
VARIABLE, OWN = "CARFT_INDEXES", "~/.cache/carft/indexes"
#: version of the content of an index
FORMAT = 2
#: key of the note in the schema's metadata
NOTE = b"carft"
#: bytes of the sha256 at the end of a file
DIGEST = 32
#: images, evenly spread, whose size and time are compared each time
SPOT = 4096
#: seconds after which size and time of every image are compared again
FULL_AFTER_S = 24 * 3600
#: seconds before an index was made within which a change may have left a time that does not show it
YOUNG_S = 2.0
#: one row an image: path, relative to the folder of the data set; size in bytes; modification time in nanoseconds; why
#: it cannot be decoded, null where it can or where nobody tried
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("label", pa.int32()),
        pa.field("group", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("unreadable", pa.string()),
    ]
)

#: (path, size, time) of an image that was decoded -> why that failed; None where it did not
Decoded = Mapping[tuple[str, int, int], str | None]


@dataclass(frozen=True)
class Indexed:
    """A data set as its index has it."""

    splits: Mapping[str, Index]
    """Split or domain -> all its images."""
    digest: str
    """sha256 of :func:`carft.data.listing.digest_of`."""
    shared: Sequence[str]
    """Images that are listed more than once."""
    unreadable: Mapping[Path, str] = field(default_factory=dict)
    """Path -> why it cannot be decoded; empty unless that was asked for."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Other facts that were listed, as JSON values."""
    path: Path | None = None
    """The file of the index; None where none is kept, as for packed sets."""
    made: bool = False
    """Whether the index was made now."""


def own_folder() -> Path:
    """The folder of indexes that cannot lie beside the data."""
    return Path(os.environ.get(VARIABLE) or OWN).expanduser()


def indexed(
    data_set: DataSet,
    root: Path,
    decoded: bool = False,
    full: bool = False,
    anew: bool = False,
) -> Indexed:
    """Return a data set from its index; make the index if there is none, or if the data set changed.

    Other processes of this machine wait meanwhile.

    Args:
        data_set: The data set.
        root: The folder that holds it.
        decoded: Also find the images that cannot be decoded, unless the index holds them.
        full: Compare size and time of every image.
        anew: List and, if ``decoded``, decode everything, whatever the index holds.

    Raises:
        UserError: The set is missing or incomplete, or changed while it was listed.
    """
    base = root / data_set.folder
    if data_set.packed:
        splits = data_set.index(root)
        return Indexed(splits, digest_of(base, splits), shared_of(base, splits))
    if not anew and (current := current_index(data_set, root, decoded, full)):
        return current
    with _lock(data_set, root):
        if not anew and (current := current_index(data_set, root, decoded, full)):  # another process made it meanwhile
            return current
        known = {} if anew else _decoded_before(data_set, root)
        parts, facts = data_set.listed_with_facts(root)
        # what was decoded before stays known, whoever asks
        index, stored_at = _make(data_set, base, parts, facts, decoded or bool(known), known), None
        for path in _places(data_set, root):
            with suppress(OSError):
                index.write(path)
                if (stored := read_index(path)) is not None:
                    index, stored_at = stored, path
                    break
        return _as_indexed(index, base, decoded, stored_at, made=True)


def current_index(data_set: DataSet, root: Path, decoded: bool = True, full: bool = False) -> Indexed | None:
    """Return a data set from its index; None if there is none that is current. Arguments as of :func:`indexed`."""
    base = root / data_set.folder
    for path in _places(data_set, root):
        index = read_index(path)
        if index is None or (decoded and not index.note.get("decoded")):
            continue
        if _is_current(index, data_set, base, path, full):
            return _as_indexed(index, base, decoded, path)
    return None


def _places(data_set: DataSet, root: Path) -> list[Path]:
    """Files in which the index may lie, in the order in which they are tried."""
    beside = [] if Path(data_set.folder).is_absolute() else [root / FOLDER / f"{data_set.name}.arrow"]
    name = f"{data_set.name.rpartition('/')[2][:40]}-{_key(data_set, root)}.arrow"
    return [*beside, own_folder() / name]


def _key(data_set: DataSet, root: Path) -> str:
    named = os.fsencode(f"{data_set.name}\0{(root / data_set.folder).resolve()}")
    return hashlib.sha256(named).hexdigest()[:16]


@contextmanager
def _lock(data_set: DataSet, root: Path) -> Iterator[None]:
    """Hold the lock of the index on this machine. If no lock file can be written, hold nothing."""
    lock = own_folder() / f"{_key(data_set, root)}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError:
        yield
        return
    with locked(lock, waiting=heartbeat):
        yield


# the file


@dataclass(frozen=True)
class IndexFile:
    """An index as it is stored."""

    rows: pa.RecordBatch
    """As of :data:`SCHEMA`, split by split."""
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


def _as_indexed(index: IndexFile, base: Path, decoded: bool, path: Path | None, made: bool = False) -> Indexed:
    rows, note = index.rows, index.note
    paths, groups = Column(rows["path"], base.joinpath), Column(rows["group"], str)
    labels, first, splits, broken = rows["label"].to_pylist(), 0, {}, {}
    for split, count in note["splits"].items():
        span = slice(first, first + count)
        splits[split] = Index(paths[span], tuple(labels[span]), groups[span])
        first += count
    if decoded:
        reasons = zip(rows["path"].to_pylist(), rows["unreadable"].to_pylist(), strict=True)
        broken = {base / name: why for name, why in reasons if why is not None}
    return Indexed(splits, note["digest"], note["shared"], broken, note["facts"], path, made)


# making


def _make(
    data_set: DataSet,
    base: Path,
    parts: Mapping[str, Index],
    facts: Mapping[str, Any],
    decoded: bool,
    known: Decoded,
) -> IndexFile:
    """Return an index of images that were just listed. known: images that need not be decoded again."""
    made_at = time.time()
    files = [path for part in parts.values() for path in part.paths]
    names = [path.relative_to(base).as_posix() for path in files]
    for name in names:
        require_text(f"{base}/{name}")
    try:
        states, watched = statuses(files), _watched(data_set, base, names)
    except OSError as error:
        raise UserError(
            f"'{base}' changed while it was listed: '{error.filename}', {error.strerror}.",
            "Run the command again once nothing is written there.",
        ) from error
    note = {
        "identity": _inputs(data_set),
        "made_at": made_at,
        "decoded": decoded,
        "splits": {split: len(part) for split, part in parts.items()},
        "digest": digest_of(base, parts, [size for size, _ in states]),
        "shared": shared_of(base, parts),
        "facts": facts,
        **watched,
    }
    reasons: list[str | None] = [None] * len(files)
    if decoded:
        keys = [(name, *state) for name, state in zip(names, states, strict=True)]
        broken = unreadable([file for file, key in zip(files, keys, strict=True) if key not in known])
        reasons = [broken.get(file, known.get(key)) for file, key in zip(files, keys, strict=True)]
    columns = {
        "path": names,
        "label": [label for part in parts.values() for label in part.labels],
        "group": [group for part in parts.values() for group in part.groups],
        "size": [size for size, _ in states],
        "mtime_ns": [when for _, when in states],
        "unreadable": reasons,
    }
    return IndexFile(pa.RecordBatch.from_pydict(columns, schema=SCHEMA), note)


def _decoded_before(data_set: DataSet, root: Path) -> Decoded:
    """What an earlier index knows of the images that it decoded."""
    for index in map(read_index, _places(data_set, root)):
        if index is not None and index.note.get("decoded") and index.note["identity"][0] == str(FORMAT):
            columns = [index.rows[name].to_pylist() for name in ("path", "size", "mtime_ns", "unreadable")]
            return {(path, size, when): reason for path, size, when, reason in zip(*columns, strict=True)}
    return {}


def _inputs(data_set: DataSet) -> list[str]:
    """What of the project decides the content of an index, beside the files."""
    labels = hashlib.sha256(json.dumps([data_set.labels, data_set.classes]).encode()).hexdigest()
    return [str(FORMAT), data_set.name, data_set.version, __version__, labels]


def _watched(data_set: DataSet, base: Path, paths: Iterable[str]) -> dict[str, Any]:
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


# whether it is current


def _is_current(index: IndexFile, data_set: DataSet, base: Path, path: Path, full: bool) -> bool:
    """Whether the data set in ``base`` is still the one of the index in the file ``path``.

    Compares folders, annotation files and some images; all images if ``full``, or if that was last done more than
    :data:`FULL_AFTER_S` seconds ago.
    """
    if index.note.get("identity") != _inputs(data_set):
        return False
    try:
        full = full or time.time() - path.stat().st_mtime > FULL_AFTER_S
        if not (_has_same_folders(index.note, base) and _has_same_images(index.rows, base, None if full else SPOT)):
            return False
    except OSError:
        return False
    if full:
        with suppress(OSError):  # of another user: all images are compared again next time
            os.utime(path)
    return True


def _has_same_folders(note: Mapping[str, Any], base: Path) -> bool:
    latest = (note["made_at"] - YOUNG_S) * 1e9
    for name, when in note["folders"].items():
        if (base / name).stat().st_mtime_ns != when or when > latest:
            return False
    for name, (size, when) in note["files"].items():
        if status(base / name) != (size, when) or when > latest:
            return False
    return all(folder_names(base / name) == names for name, names in note["above"].items())


def _has_same_images(rows: pa.RecordBatch, base: Path, most: int | None) -> bool:
    """Whether size and time of the images agree. most: images to look at; None: all."""
    count = rows.num_rows
    picked = np.arange(count) if most is None or count <= most else np.linspace(0, count - 1, most).astype(np.int64)
    found = np.array(statuses(Column(rows["path"], base.joinpath, picked)), dtype=np.int64).reshape(-1, 2)
    sizes, times = (numbers(rows[name])[picked] for name in ("size", "mtime_ns"))
    return np.array_equal(sizes, found[:, 0]) and np.array_equal(times, found[:, 1])
