"""A results folder in an object store, with a mirror on this machine that all code reads and writes. No torch.

The object store is the primary copy. A change of the mirror is uploaded in the order in which it was written, the
record last. Changes by other machines are downloaded before they are read; weights only on request. Checkpoints, event
files and the lock exist in the mirror only. A mirror can be removed whenever no process uses it.

    pending/<prefix>    one file for each change, locked by the process that makes the change. The file has content
                        while the change is not fully uploaded. So a process that is killed leaves a mark

Credentials, region and endpoint come from the environment, the profile or the role of each machine, and are never part
of a URL. pyarrow retries failed requests. What still fails raises :class:`StorageUnavailable` with a text of this
module, because the text of a server may repeat credentials.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from carft.catalog.catalog import Catalog
from carft.config.cell import Cell, weights_place_of
from carft.core.errors import StorageUnavailable, UserError
from carft.core.files import files_below, given_path, write_atomic
from carft.store.journal import JOURNAL
from carft.store.record_files import Record
from carft.store.records import Store
from carft.store.results_folder import FOLDERS, RESULT_FILE
from carft.store.stored_catalog import adopt_catalog, stored_catalog

#: folder of all mirrors of a machine, and the environment variable that overrides it
MIRRORS, VARIABLE = "~/.cache/carft/mirrors", "CARFT_MIRRORS"
#: what is downloaded; no code reads the logs and superseded cells of other machines
DOWNLOADED = (*FOLDERS, "plans", "sweeps", "folders.json")
#: folder of marks of changes that are not uploaded yet
PENDING = "pending"
THREADS = 16
#: seconds until a connection, and a response, times out
CONNECT_S, SILENT_S = 3.0, 20.0
#: attempts of pyarrow for each request to S3; the pauses between them grow and take about 4 s in all
ATTEMPTS = 5
#: age in ns below which an object may change and keep its time, which S3 gives in whole seconds
YOUNG_NS = 2 * 10**9
CHUNK = 64 * 2**20

_URL = re.compile(r"(s3|gs)://[a-z0-9][a-z0-9._-]{1,221}(/(?!\.+(/|$))[\w.@=+ -]+)*")
#: error of S3 and the request that met it, in a message of pyarrow
_S3_ERROR = re.compile(r"AWS Error (\w+)(?: \(HTTP status \d+\))? during (\w+)")
#: size in bytes, and Unix time of the last change in ns by the clock of the object store
Seen = tuple[int, int]


def is_url(results: str | Path) -> bool:
    """Whether a results folder is given as a URL, and not as a path."""
    return "://" in str(results)


def checked_url(text: str) -> str:
    """``text`` without a slash at its end; ``UserError`` if it is not scheme://bucket/prefix.

    The message does not repeat ``text``, which may hold credentials.
    """
    url = text.rstrip("/")
    if not _URL.fullmatch(url):
        raise UserError(
            "The URL is not s3://BUCKET/PREFIX or gs://BUCKET/PREFIX. It may hold no credentials, no query, no '..'.",
            "Put credentials into the environment (docs/cluster.md).",
        )
    return url


def local_folder(results: str | Path) -> Path:
    """Path of the files of a results folder on this machine: of a URL its mirror."""
    if not is_url(results):
        return Path(results)
    mirrors = given_path(os.environ.get(VARIABLE) or MIRRORS)
    key = f"{socket.gethostname()} {_endpoint()} {checked_url(str(results))}"  # machines can share a home folder
    return mirrors / hashlib.sha256(key.encode()).hexdigest()[:16]


def store_at(results: str | Path, catalog: Catalog, sentinel: str | None = None) -> Store:
    """A results folder by path or URL, without a download. ``sentinel``, ``catalog``: as in :class:`Store`."""
    return MirroredStore(str(results), catalog) if is_url(results) else Store(results, sentinel, catalog)


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
        store.require(writable)
        if writable:
            store.flush()
        store.refresh(*(prefixes or DOWNLOADED), weights=weights)
    store.catalog = stored_catalog(store, catalog)
    return store


def open_for_runs(
    results: str | Path, catalog: Catalog, tasks: Iterable[str], methods: Iterable[str], cell: Cell
) -> Store:
    """A results folder to write to, as of :func:`open_store`, with what a report needs of the runs.

    cell: one of the runs, for its weights. Raises ``UserError`` for a folder that cannot be written, and as of
    :func:`carft.store.stored_catalog.adopt_catalog`.
    """
    store = open_store(results, catalog, writable=True)
    store.require_writable()
    adopt_catalog(store, catalog.with_weights(weights_place_of(cell)), tasks, methods)
    return store


class MirroredStore(Store):
    """The mirror of a results folder in an object store. Names of objects are relative to the URL."""

    largest_part = 16 * 2**10  # each line sends the file that it is in: about twenty lines

    def __init__(self, url: str, catalog: Catalog) -> None:
        super().__init__(local_folder(url), catalog=catalog)
        self.name = self.address = checked_url(url)
        self.scheme, _, self.base = self.name.partition("://")
        try:
            for name in ("", PENDING, "logs", "sweeps", "plans", JOURNAL):
                (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UserError(
                f"The mirror of '{self.name}', '{self.root}', cannot be written: {error.strerror}.",
                f"Name another folder in the environment variable {VARIABLE}.",
            ) from error

    # the object store

    @cached_property
    def files(self) -> Any:
        """pyarrow's file system of the object store."""
        with self.errors():
            if self.scheme == "gs":
                bucket = self.base.partition("/")[0]
                return fs.FileSystem.from_uri(f"gs://{bucket}?retry_limit_seconds={SILENT_S:.0f}")[0]
            protocol, _, host = _endpoint().rpartition("://")
            return fs.S3FileSystem(
                endpoint_override=host or None,
                scheme=protocol or "https",
                region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
                connect_timeout=CONNECT_S,
                request_timeout=SILENT_S,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
                allow_delayed_open=True,  # a small object takes one request
            )

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise ``StorageUnavailable`` for an error of pyarrow. Its text is left out: it may repeat credentials."""
        try:
            yield
        except (StorageUnavailable, FileNotFoundError):
            raise
        except (OSError, pa.ArrowException) as error:
            said = _S3_ERROR.search(str(error))
            words = f"{said[1].lower().replace('_', ' ')} ({said[2]})" if said else type(error).__name__
            raise self._away(words) from None

    def _away(self, why: str) -> StorageUnavailable:
        return StorageUnavailable(errno.EIO, f"The object store '{self.name}' cannot be used: {why}")

    def require(self, writable: bool) -> None:
        """Raise ``UserError`` when the bucket does not exist or cannot be read, or cannot be written if it must be."""
        try:
            with self.errors():
                if self.files.get_file_info(self.base.partition("/")[0]).type == fs.FileType.NotFound:
                    raise self._away("there is no such bucket")
                self.below("cells/-")
                if writable:
                    probe = f"{self.base}/.probe-{uuid4().hex}"
                    self.files.open_output_stream(probe).close()
                    self.files.delete_file(probe)
        except StorageUnavailable as away:
            hint = "See docs/cluster.md for endpoint, region and credentials; they come from the environment."
            raise UserError(f"{away.strerror}.", hint) from away

    def below(self, prefix: str) -> dict[str, Seen]:
        """Name -> size and time, of the objects in a folder, such as ``cells``, or of the object of this name."""
        path = f"{self.base}/{prefix}"
        wanted: Any = fs.FileSelector(path, allow_not_found=True, recursive=True)
        if PurePosixPath(prefix).suffix:
            wanted = [path]
        found = {}
        with self.errors():
            for info in self.files.get_file_info(wanted):
                name = info.path.removeprefix(f"{self.base}/")
                if info.type == fs.FileType.File and RESULT_FILE.fullmatch(name):
                    found[name] = info.size, info.mtime_ns or 0
        return found

    def fetch(self, name: str, seen: Seen) -> None:
        """Download an object to its file with the time that was seen, atomically. A removed object is ignored.

        One that was replaced meanwhile has another time when it is seen next, and is downloaded again.
        """
        is_settled = time.time_ns() - seen[1] > YOUNG_NS
        stamp = seen[1] if is_settled else seen[1] - 1  # a wrong time forces the next download

        def download(part: Path) -> None:
            with self.errors(), self.files.open_input_stream(f"{self.base}/{name}") as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK)
            os.utime(part, ns=(stamp, stamp))

        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            write_atomic(self.root / name, download)

    def send(self, name: str) -> None:
        """Upload a file to its object, atomically."""
        with self.errors():
            fs.copy_files(str(self.root / name), f"{self.base}/{name}", destination_filesystem=self.files)

    # the mirror

    def require_writable(self) -> None:
        super().require_writable()
        self.require(writable=True)

    @contextmanager
    def changing(self, prefix: str) -> Iterator[None]:
        with self.marked(prefix):
            yield
            self._upload(prefix)

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

    def sync(self, cells: Sequence[str]) -> None:
        """Upload pending changes of these cells and of the journal, then download what other machines wrote of them."""
        folders = [f"cells/{cell}" for cell in cells]
        self.flush(f"{JOURNAL}/", *folders)
        self.refresh(*folders, *(f"failures/{cell}.json" for cell in cells))

    def flush(self, *prefixes: str) -> None:
        """Upload the cells and lines of the journal that ended processes of this machine left pending.

        prefixes: beginnings of the names of what is uploaded; everything by default. What a live process is uploading
        is left to it.
        """
        for prefix in self.pending():
            if not prefix.startswith(prefixes or ("",)):
                continue
            with suppress(BlockingIOError), self.marked(prefix, wait=False):
                path = self.root / prefix  # other files are written by the next sweep
                if (path.is_file() and path.parent.name == JOURNAL) or (path / "record.json").is_file():
                    self._upload(prefix)

    def _upload(self, prefix: str) -> None:
        """Upload local changes under this prefix. Of a finished cell, what only the object store holds is kept."""
        there, here = self.below(prefix), set(self._local(prefix))
        changed = {name for name in here if _seen(self.root / name) != there.get(name)}
        record = f"{prefix}/record.json"
        if record in changed and record in there:
            return  # another machine finished the cell first: its files take precedence
        if record not in there or not here:
            for name in sorted(there.keys() - here, key=_order, reverse=True):  # no part of a cell counts as done
                with suppress(FileNotFoundError), self.errors():
                    self.files.delete_file(f"{self.base}/{name}")
        for name in sorted(changed, key=_order):
            self.send(name)
        sent = self.below(prefix) if changed else {}
        for name in changed & sent.keys():
            os.utime(self.root / name, ns=(sent[name][1], sent[name][1]))

    def _supersede(self, cell: str) -> None:
        self.refresh(f"cells/{cell}", weights=True)  # the machine that trained it may be another one
        super()._supersede(cell)

    def refresh(self, *prefixes: str, weights: bool = False) -> None:
        """Download changes under these prefixes, and remove files that were removed. Pending files are left alone.

        weights: whether they are downloaded too; otherwise those that are not up to date are removed. Weights that only
        the mirror holds stay until the record of their cell changes.
        """
        local = set[str]()
        for prefix in prefixes:
            local.update(self._local(prefix))
        pending, there = self.pending(), dict[str, Seen]()  # a local file is pending, or there by now, or removed
        with ThreadPoolExecutor(THREADS) as pool:
            for listed in pool.map(self.below, prefixes):
                there.update(listed)
            pending |= self.pending()
            here = {name: _seen(self.root / name) for name in local | there.keys()}
            todo = changes(here, there, pending, weights)
            for name in todo.removed:
                with suppress(OSError):
                    (self.root / name).unlink()
                    for folder in list(PurePosixPath(name).parents)[:-2]:  # empty ones, but for `cells` itself
                        (self.root / folder).rmdir()
            for names in (todo.first, todo.last):
                list(pool.map(lambda name: self.fetch(name, there[name]), names))

    def _local(self, prefix: str) -> list[str]:
        """Names of the complete files of the mirror in a folder, or of the file of this name."""
        return [prefix] if (self.root / prefix).is_file() else files_below(self.root, (prefix,))

    # cells

    def write(self, record: Record, *rest: Any) -> None:
        self.refresh(f"cells/{record.id}")  # another machine may have finished the cell meanwhile
        super().write(record, *rest)

    def find_weights(self, cell: str) -> Path:
        self.refresh(f"cells/{cell}/model.safetensors", weights=True)
        return self.weights_path(cell)

    def finished(self) -> int:
        return sum(name.endswith("/record.json") for name in self.below("cells"))

    def kept_weights(self) -> dict[str, int]:
        there = {**self.below("cells"), **self.below("superseded")}
        return {name: size for name, (size, _) in there.items() if _is_weights(name)}


class Changes(NamedTuple):
    """What a mirror lacks: names of files, in the order in which they are written, so no record before its files."""

    removed: list[str]
    first: list[str]
    last: list[str]
    """Those that mark the others as complete."""


def changes(
    here: Mapping[str, Seen | None], there: Mapping[str, Seen], pending: Iterable[str], weights: bool = False
) -> Changes:
    """What is to be done so that a mirror has what the object store has.

    here, there: files of the mirror and objects, by name; None for no file. pending: beginnings of names that are left
    alone. weights: as of :meth:`MirroredStore.refresh`.
    """
    marked, outdated = set(pending), set[str]()
    for name in here.keys() | there.keys():
        above = [str(folder) for folder in PurePosixPath(name).parents]
        if marked.isdisjoint([name, *above]) and here.get(name) != there.get(name):
            outdated.add(name)
    found = Changes([], [], [])
    for name in outdated:
        if name in there and (weights or not _is_weights(name)):
            (found.last if _is_last(name) else found.first).append(name)
        elif here.get(name) is None:
            continue
        elif name in there or not _is_weights(name) or str(Path(name).with_name("record.json")) in outdated:
            found.removed.append(name)
    return found


def _endpoint() -> str:
    """The URL of a server that is not the cloud provider's, from the environment; empty by default."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _seen(path: Path) -> Seen | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors")


def _is_last(name: str) -> bool:
    """Whether this file is written last, and marks the others as complete."""
    return Path(name).name == "record.json" or ("/evaluations/" in name and name.endswith(".json"))


def _order(name: str) -> tuple[bool, bool, str]:
    """Sort key: the order in which the files of a cell are written."""
    return "/evaluations/" in name, _is_last(name), name
