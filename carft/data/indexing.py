"""The index of a data set: made once, memory-mapped by every process, in place of listing all files. No torch.

ROOT/carft-index/<data set>.arrow where that can be written, otherwise, and for your own data, a file in :data:`OWN`.
What it holds is exactly what the layout of the data set lists. The index of a packed copy lies in its shards' folder.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from carft import __version__
from carft.core.errors import UserError
from carft.core.files import given_path, locked
from carft.core.heartbeat import heartbeat
from carft.data.decoding import decode_pixels, decoders
from carft.data.index import Column, Index, batch_of, note_of, read_index, splits_of, write_index
from carft.data.sets import DataSet, Splits
from carft.data.shards import FileStatus, image_status, shards_in
from carft.data.trees import folder_names

FOLDER = "carft-index"
#: names another place for indexes that cannot lie beside the data
VARIABLE, OWN = "CARFT_INDEXES", "~/.cache/carft/indexes"
#: version of the content of an index
FORMAT = 5
#: images at most, evenly spread, whose size and time are compared each time
SPOT = 4096
#: seconds before an index was made within which a change may have left a time that does not show it
YOUNG_S = 2.0
#: files per unit of work of a thread
CHUNK = 256
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

OfFile = TypeVar("OfFile")


@dataclass(frozen=True)
class Indexed:
    """A data set as its index has it."""

    splits: Splits
    """Split or domain -> all its images."""
    digest: str
    """sha256 of :func:`digest_of`."""
    unreadable: Mapping[Path, str]
    """Path -> why it cannot be decoded; empty unless that was asked for."""
    facts: Mapping[str, Any]
    """Other facts that were listed, as JSON values."""


def indexed(data_set: DataSet, root: Path, decoded: bool = False) -> Indexed:
    """Return a data set from its index; make the index if there is none, or if the data set changed.

    Other processes of this machine wait meanwhile. decoded: also find the images that cannot be decoded, unless the
    index holds them. Raises ``UserError`` for a set that is missing or incomplete, or changes meanwhile.
    """
    current = current_index(data_set, root, decoded)
    if current is not None:
        return current
    with _locked_where_possible(_place(data_set, root).with_suffix(".lock")):
        current = current_index(data_set, root, decoded)
        if current is not None:  # another process made it meanwhile
            return current
        return indexed_anew(data_set, root, decoded)


def indexed_anew(data_set: DataSet, root: Path, decoded: bool) -> Indexed:
    """List a data set and, if ``decoded``, decode all its images, whatever an index holds. Raises as :func:`indexed`.

    Of a packed copy, which cannot change but by damage, only the images are read again.
    """
    base, path = root / data_set.folder, _place(data_set, root)
    if shards_in(base) is not None:
        found = indexed(data_set, root)
        return replace(found, unreadable=unreadable(Index.of([*found.splits.values()]).paths))
    rows = new_index(data_set, root, *data_set.listed_with_facts(root), decoded)
    with suppress(OSError):
        write_index(path, rows)
        rows = read_index(path) or rows
    return _as_indexed(rows, base, decoded)


def current_index(data_set: DataSet, root: Path, decoded: bool = True) -> Indexed | None:
    """Return a data set from its index; None if there is none that is current. Arguments as of :func:`indexed`."""
    base = root / data_set.folder
    shards = shards_in(base)
    if shards is not None:
        shards.require_same(data_set.reading)
        return _as_indexed(shards.rows, base, decoded)
    rows = read_index(_place(data_set, root))
    if rows is not None and _is_current(rows, data_set, base) and note_of(rows)["decoded"] >= decoded:
        return _as_indexed(rows, base, decoded)
    return None


@contextmanager
def _locked_where_possible(lock: Path) -> Iterator[None]:
    """Hold a lock within the block; none where its file cannot be written."""
    with ExitStack() as stack:
        with suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(lock))
        yield


def _place(data_set: DataSet, root: Path) -> Path:
    """Return the file of an index."""
    beside = root / FOLDER
    if not Path(data_set.folder).is_absolute():  # your own data have no root
        written = beside if beside.exists() else root
        if written.is_dir() and os.access(written, os.W_OK):
            return beside / f"{data_set.name}.arrow"
    key = hashlib.sha256(os.fsencode(f"{data_set.name}\0{(root / data_set.folder).resolve()}")).hexdigest()[:16]
    return given_path(os.environ.get(VARIABLE) or OWN) / f"{data_set.name.rpartition('/')[2][:40]}-{key}.arrow"


def _as_indexed(rows: pa.RecordBatch, base: Path, decoded: bool) -> Indexed:
    note = note_of(rows)
    broken = {}
    if decoded:
        paths = Column(rows["path"], base.joinpath)
        for path, reason in zip(paths, rows["unreadable"].to_pylist(), strict=True):
            if reason is not None:
                broken[path] = reason
    return Indexed(splits_of(rows, base), note["digest"], broken, note["facts"])


# making


def new_index(data_set: DataSet, root: Path, splits: Splits, facts: Mapping[str, Any], decoded: bool) -> pa.RecordBatch:
    """Return an index of images that were just listed. Raises ``UserError`` for one that is missing."""
    base = root / data_set.folder
    made_at = time.time()
    images = Index.of([*splits.values()])
    names = [path.relative_to(base).as_posix() for path in images.paths]
    try:
        states = statuses(images.paths)
        watched = _watched(data_set, base, {name.rpartition("/")[0] for name in names})
    except OSError as error:
        raise data_set.missing(root, Path(error.filename)) from error
    sizes, times = [], []
    for size, when in states:
        sizes.append(size)
        times.append(when)
    broken = unreadable(images.paths) if decoded and not data_set.packed else {}
    note = {
        "identity": _identity(data_set),
        "made_at": made_at,
        "decoded": decoded,
        "splits": {split: len(part) for split, part in splits.items()},
        "digest": digest_of(base, splits, sizes),
        "facts": facts,
        "watched": watched,
    }
    columns = {
        "path": names,
        "label": images.labels,
        "group": images.groups,
        "size": sizes,
        "mtime_ns": times,
        "unreadable": [broken.get(path) for path in images.paths],
    }
    return batch_of(columns, SCHEMA, note)


def _identity(data_set: DataSet) -> list[Any]:
    """What of the project decides the content of an index, beside the files."""
    return [FORMAT, __version__, *data_set.reading]


def _watched(data_set: DataSet, base: Path, folders: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the state of the folders and annotation files of a data set, as JSON values. Raises ``OSError``.

    folders: those that hold images, relative to ``base``.

    Returns:
        folders: Folder -> modification time, which changes when a file comes, goes or is renamed.
        above: Folder above those -> names of the folders in it.
        files: Annotation file -> size and modification time.
    """
    changed, files = {}, {}
    parents = set[str]()
    for folder in sorted(folders):
        changed[folder] = (base / folder).stat().st_mtime_ns
        parents.update(map(str, PurePosixPath(folder).parents))
    above = {parent: folder_names(base / parent) for parent in sorted(parents)}
    for name in sorted({*data_set.needs, *data_set.digests, data_set.table}):
        if (base / name).is_file():
            files[name] = list(image_status(base / name))
    return {"folders": changed, "above": above, "files": files}


# whether it is current


def _is_current(rows: pa.RecordBatch, data_set: DataSet, base: Path) -> bool:
    """Return whether the data set in ``base`` is still the one of an index.

    Compares folders, annotation files, and size and time of :data:`SPOT` images.
    """
    note = note_of(rows)
    if note["identity"] != _identity(data_set):
        return False
    watched = note["watched"]
    changes = [*watched["folders"].values()]
    for _, when in watched["files"].values():
        changes.append(when)
    if changes and max(changes) > (note["made_at"] - YOUNG_S) * 1e9:
        return False
    try:
        if _watched(data_set, base, watched["folders"]) != watched:
            return False
        chosen = np.linspace(0, rows.num_rows - 1, min(SPOT, rows.num_rows))
        sizes, times = Column(rows["size"], int, chosen), Column(rows["mtime_ns"], int, chosen)
        return statuses(Column(rows["path"], base.joinpath, chosen)) == list(zip(sizes, times, strict=True))
    except OSError:
        return False


# files


def in_threads(work: Callable[[Path], OfFile], paths: Sequence[Path]) -> Iterator[OfFile]:
    """Yield ``work`` of each path, in order. Sends a heartbeat for each :data:`CHUNK` paths."""

    def of_part(first: int) -> list[OfFile]:
        return [work(path) for path in paths[first : first + CHUNK]]

    with ThreadPoolExecutor(decoders()) as pool:
        for results in pool.map(of_part, range(0, len(paths), CHUNK)):
            heartbeat()
            yield from results


def statuses(paths: Sequence[Path]) -> list[FileStatus]:
    """Return the status of the file of each image, as of :func:`carft.data.shards.image_status`."""
    return list(in_threads(image_status, paths))


def unreadable(paths: Sequence[Path]) -> dict[Path, str]:
    """Return path -> reason for every file that cannot be decoded. Reads all files, in threads."""

    def reason(path: Path) -> str | None:
        try:
            decode_pixels(path)
        except UserError as refusal:
            return refusal.message
        return None

    found = {}
    for path, why in zip(paths, in_threads(reason, paths), strict=True):
        if why is not None:
            found[path] = why
    return found


def digest_of(base: Path, splits: Splits, sizes: Sequence[int] | None = None) -> str:
    """Return sha256 over one line per image: split, path in ``base``, label and size in bytes.

    sizes: of the images of all splits, one after the other; by default they are read.
    """
    digest = hashlib.sha256()
    if sizes is None:
        sizes = [size for size, _ in statuses(Index.of([*splits.values()]).paths)]
    left = iter(sizes)
    for split, index in splits.items():
        for path, label in zip(index.paths, index.labels, strict=True):
            digest.update(f"{split} {path.relative_to(base).as_posix()} {label} {next(left)}\n".encode())
    return digest.hexdigest()
