"""A results folder in an object store, with a mirror on this machine that all code reads and writes. No torch.

The object store is the primary copy. A change of the mirror is uploaded in the order in which it was written, the
record last. Changes by other machines are downloaded before they are read; weights only on request. Checkpoints, event
files and the lock exist in the mirror only. A mirror can be removed whenever no process uses it.

    pending/<prefix>    one file for each change, locked by the process that makes the change. The file has content
                        while the change is not fully uploaded. So a process that is killed leaves a mark
"""

import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from carft.catalog.catalog import Catalog
from carft.core.errors import UserError
from carft.core.files import files_below, given_path
from carft.store.journal import JOURNAL
from carft.store.object_store import ObjectInfo, ObjectStore, checked_url, endpoint, is_url
from carft.store.record_files import Record
from carft.store.records import Store
from carft.store.results_folder import FOLDERS
from carft.store.stored_catalog import stored_catalog

#: folder of all mirrors of a machine, and the environment variable that overrides it
MIRRORS, VARIABLE = "~/.cache/carft/mirrors", "CARFT_MIRRORS"
#: what is downloaded; no code reads the logs and superseded cells of other machines
DOWNLOADED = (*FOLDERS, "plans", "sweeps", "folders.json", "weights.json")
#: folder of marks of changes that are not uploaded yet
PENDING = "pending"
THREADS = 16


def local_folder(results: str | Path) -> Path:
    """Path of the files of a results folder on this machine: of a URL its mirror."""
    if not is_url(results):
        return Path(results)
    mirrors = given_path(os.environ.get(VARIABLE) or MIRRORS)
    key = f"{socket.gethostname()} {endpoint()} {checked_url(str(results))}"  # machines can share a home folder
    return mirrors / hashlib.sha256(key.encode()).hexdigest()[:16]


def store_at(results: str | Path, catalog: Catalog, sentinel: str | None = None) -> Store:
    """A results folder by path or URL, without a download. ``sentinel``, ``catalog``: as in :class:`Store`."""
    if is_url(results):
        return MirroredStore(ObjectStore(str(results)), catalog)
    return Store(results, sentinel, catalog)


def open_store(
    results: str | Path,
    catalog: Catalog,
    *prefixes: str,
    writable: bool = False,
    weights: bool = False,
) -> Store:
    """A results folder by path or URL, up to date. Its catalog is ``catalog``, with what the folder holds added.

    prefixes: what is downloaded; by default everything in :data:`DOWNLOADED`. writable: whether the object store must
    be writable; pending changes are then uploaded first. weights: whether they are downloaded too. Raises ``UserError``
    if the object store cannot be reached, read or written; a plain folder is not checked.
    """
    store = store_at(results, catalog)
    if isinstance(store, MirroredStore):
        store.remote.require(writable)
        if writable:
            store.flush()
        store.refresh(*(prefixes or DOWNLOADED), weights=weights)
    store.catalog = stored_catalog(store, catalog)
    return store


class MirroredStore(Store):
    """The mirror of a results folder in an object store."""

    largest_part = 16 * 2**10  # each line sends the file that it is in: about twenty lines

    def __init__(self, remote: ObjectStore, catalog: Catalog) -> None:
        super().__init__(local_folder(remote.url), catalog=catalog)
        self.remote = remote
        self.name = self.address = remote.url
        try:
            for name in ("", PENDING, "logs", "sweeps", "plans", JOURNAL):
                (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UserError(
                f"The mirror of '{self.name}', '{self.root}', cannot be written: {error.strerror}.",
                f"Name another folder in the environment variable {VARIABLE}.",
            ) from error

    def require_writable(self) -> None:
        super().require_writable()
        self.remote.require(writable=True)

    @contextmanager
    def changing(self, prefix: str) -> Iterator[None]:
        with self.marked(prefix):
            yield
            self._upload(prefix)

    def sync(self, cells: Sequence[str]) -> None:
        """Upload pending changes of these cells and of the journal, then download what other machines wrote of them."""
        folders = [f"cells/{cell}" for cell in cells]
        failures = [f"failures/{cell}.json" for cell in cells]
        self.flush(f"{JOURNAL}/")
        self.flush(*folders, wait=True)
        self.refresh(*folders, *failures)

    def find_weights(self, cell: str) -> Path:
        self.refresh(f"cells/{cell}/model.safetensors", weights=True)
        return self.weights_path(cell)

    def flush(self, *prefixes: str, wait: bool = False) -> None:
        """Upload the cells and lines of the journal that ended processes of this machine left pending.

        prefixes: beginnings of the names of what is uploaded; everything by default. wait: for changes that a live
        process is uploading; they are left to it by default.
        """
        for prefix in self.pending():
            if not prefix.startswith(prefixes or ("",)):
                continue
            with suppress(BlockingIOError), self.marked(prefix, wait):  # other files are written by the next sweep
                if prefix.startswith(f"{JOURNAL}/") or (self.root / prefix / "record.json").is_file():
                    self._upload(prefix)

    def write(self, record: Record, *rest: Any) -> None:
        self.refresh(f"cells/{record.id}")  # another machine may have finished the cell meanwhile
        super().write(record, *rest)

    def finished(self) -> int:
        return sum(name.endswith("/record.json") for name in self.remote.below("cells"))

    def kept_weights(self) -> dict[str, int]:
        there = {**self.remote.below("cells"), **self.remote.below("superseded")}
        sizes = {}
        for name, seen in there.items():
            if _is_weights(name):
                sizes[name] = seen.size
        return sizes

    def remove(self, name: str) -> None:
        for object_name in sorted(self.remote.below(name), key=_order, reverse=True):
            self.remote.remove(object_name)
        super().remove(name)

    @contextmanager
    def marked(self, prefix: str, wait: bool = True) -> Iterator[None]:
        """Lock a prefix, and mark it as pending until the block succeeds. The lock ends with this process.

        Raises ``BlockingIOError`` if another process holds the lock, unless this one waits.
        """
        with (self.root / PENDING / prefix.replace("/", "~")).open("a") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark.write(PENDING)
            mark.flush()
            yield
            mark.truncate(0)

    def pending(self) -> set[str]:
        """The prefixes that are marked."""
        pending = set[str]()
        for mark in (self.root / PENDING).iterdir():
            if mark.stat().st_size:
                pending.add(mark.name.replace("~", "/"))
        return pending

    def _upload(self, prefix: str) -> None:
        """Upload local changes under this prefix. Weights that only the object store holds are kept."""
        there, here = self.remote.below(prefix), set(self._below(prefix))
        changed = {name for name in here if _seen(self.root / name) != there.get(name)}
        record = f"{prefix}/record.json"
        if record in changed & there.keys() and self.remote.read(record) != (self.root / record).read_bytes():
            return  # another machine finished the cell first: its files take precedence
        if record not in there:
            for name in sorted(there.keys() - here, key=_order):
                self.remote.remove(name)
        for name in sorted(changed, key=_order):
            self.remote.send(self.root / name, name)
        sent = self.remote.below(prefix) if changed else {}
        for name in changed & sent.keys():
            os.utime(self.root / name, ns=(sent[name].changed, sent[name].changed))

    def refresh(self, *prefixes: str, weights: bool = False) -> None:
        """Download changes under these prefixes, and remove files that were removed. Pending files are left alone.

        weights: whether they are downloaded too; otherwise those that are not up to date are removed. Weights that only
        the mirror holds stay until the record of their cell changes.
        """
        began = time.time()
        with ThreadPoolExecutor(THREADS) as pool:
            there: dict[str, ObjectInfo] = {}
            for listed in pool.map(self.remote.below, prefixes):
                there.update(listed)
            here = set[str]()
            for prefix in prefixes:
                here.update(self._below(prefix))
            pending = self.pending()
            outdated = set[str]()
            for name in {*here, *there}:
                above = [str(folder) for folder in PurePosixPath(name).parents]
                if pending.isdisjoint([name, *above]) and _seen(self.root / name) != there.get(name):
                    outdated.add(name)
            fetched = set[str]()
            for name in outdated:
                if name in there and (weights or not _is_weights(name)):
                    fetched.add(name)
                elif name in here:
                    # weights of a network that was trained again are only here; a changed record makes them void
                    is_void = name in there or str(Path(name).with_name("record.json")) in outdated
                    if is_void or not _is_weights(name):
                        self._drop(name, began)
            last = {name for name in fetched if _is_last(name)}
            for names in (fetched - last, last):  # in writing order: no record before its files
                list(pool.map(lambda name: self.remote.fetch(name, there[name], self.root / name), names))

    def _drop(self, name: str, began: float) -> None:
        """Remove a file, and folders that it leaves empty, unless it was written after ``began`` (Unix time)."""
        path = self.root / name
        with suppress(OSError):
            if path.stat().st_ctime < began:
                path.unlink()
            for folder in path.parents:
                if self.root in (folder, folder.parent):
                    return
                folder.rmdir()

    def _below(self, prefix: str) -> list[str]:
        """Names of the complete files of the mirror in a folder, or of the file of this name."""
        return [prefix] if (self.root / prefix).is_file() else files_below(self.root, (prefix,))

    def _supersede(self, cell: str) -> None:
        """Move a cell in the object store. It is removed in an order in which no part of a cell counts as done."""
        folder, target = f"cells/{cell}", f"superseded/{cell}-{uuid4().hex[:8]}"
        for name in self.remote.below(folder):
            self.remote.copy(name, name.replace(folder, target, 1))
        self.remove(folder)


def _seen(path: Path) -> ObjectInfo | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return ObjectInfo(status.st_size, status.st_mtime_ns)


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors")


def _is_last(name: str) -> bool:
    """Whether this file is written last, and marks the others as complete."""
    return Path(name).name == "record.json" or ("/evaluations/" in name and name.endswith(".json"))


def _order(name: str) -> tuple[bool, bool, str]:
    """Sort key: the order in which the files of a cell are written."""
    return "/evaluations/" in name, _is_last(name), name
