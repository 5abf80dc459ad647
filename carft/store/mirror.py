"""A results folder in an object store, mirrored by a folder of this machine that everything reads and writes. No torch.

The object store is the truth. What changes here is sent there in the order in which it is written, the record last.
What others changed is brought here before it is read; weights only when they are asked for. Checkpoints, event files
and the lock stay in the mirror. A mirror can be removed at any time when nothing works in it.

    owed/<place>        what is being changed here and is not all sent yet, locked by whoever is at it; a process that
                        dies leaves it behind
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from carft.core.errors import UserError
from carft.store.object_store import ObjectInfo, ObjectStore, checked_url, endpoint, folders_of, is_url
from carft.store.records import Record, Store

#: the folder of all mirrors of a machine, and the environment variable that moves it
MIRRORS, VARIABLE = "~/.cache/carft/mirrors", "CARFT_MIRRORS"
#: what others may write; logs and superseded cells are for people
SHARED = ("cells", "studies", "failures", "unsealed", "unsealed.jsonl", "plans", "sweeps")
#: what says that a cell has ended, the stronger word first
ENDS = ("record.json", "stopped.json")
THREADS = 16


def mirror_of(url: str) -> Path:
    """The folder of this machine that mirrors a URL."""
    mirrors = Path(os.environ.get(VARIABLE) or MIRRORS).expanduser()
    key = f"{socket.gethostname()} {endpoint()} {checked_url(url)}"  # a home folder may be that of many machines
    return mirrors / hashlib.sha256(key.encode()).hexdigest()[:16]


def local_folder(results: str | Path) -> Path:
    """Where the files of a results folder are on this machine."""
    return mirror_of(str(results)) if is_url(results) else Path(results)


def store_at(results: str | Path, mark: str | None = None) -> Store:
    """A results folder as it is here, by path or URL; nothing is brought. mark: as in :class:`Store`."""
    return MirroredStore(ObjectStore(str(results))) if is_url(results) else Store(results, mark)


def open_store(results: str | Path, *places: str, writable: bool = False, weights: bool = False) -> Store:
    """A results folder with what others wrote (below ``places``, where given) brought here, weights when asked for.

    ``UserError`` when the object store cannot be reached, read, or, where asked for, written; a plain folder is not
    looked at.
    """
    store = store_at(results)
    if isinstance(store, MirroredStore):
        store.remote.require(writable)
        if writable:
            store.flush()
        store.pull(places or SHARED, lambda name: weights or not _is_weights(name))
    return store


class MirroredStore(Store):
    """The mirror of a results folder in an object store."""

    def __init__(self, remote: ObjectStore) -> None:
        super().__init__(mirror_of(remote.url))
        self.remote = remote
        self.writer = uuid4().hex[:12]
        try:
            for folder in (self.root, *(self.root / name for name in ("owed", "logs", "sweeps", "plans", "unsealed"))):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UserError(
                f"The mirror of '{self.name}', '{self.root}', cannot be written: {error.strerror}.",
                f"Name another folder for mirrors in {VARIABLE}.",
            ) from error

    @property
    def name(self) -> str:
        return self.remote.url

    @property
    def address(self) -> str:
        return self.remote.url

    def with_sentinel(self, mark: str) -> Store:
        return self  # a mirror is on a disk of its own: it does not go away and leave an empty place

    def require_writable(self) -> None:
        super().require_writable()
        self.remote.require(writable=True)

    @contextmanager
    def changing(self, place: str) -> Iterator[None]:
        with self._holding(place) as owed:
            yield
            self._send(place)
            owed.unlink(missing_ok=True)

    def refresh(self, *places: str) -> None:
        self.pull(places, lambda name: not _is_weights(name))

    def sync(self, cells: Sequence[str]) -> None:
        """Send what an earlier attempt here could not, then bring what others wrote of these cells."""
        for cell in cells:
            if self._owed(place := f"cells/{cell}").exists():
                with self._holding(place):
                    self._pay(place)
            for owed in (self.root / "owed").glob(f"unsealed~{cell}-*"):
                self._pay_if_free(owed)
        self.refresh(*(f"cells/{cell}" for cell in cells), *(f"failures/{cell}.json" for cell in cells))

    def find_weights(self, cell: str) -> Path:
        path, name = self.weights_path(cell), f"cells/{cell}/model.safetensors"
        seen = self.remote.below(name).get(name)
        if seen is not None and _seen(path) != seen:
            self.remote.fetch(name, seen, path)
        return path

    def flush(self) -> None:
        """Send the finished cells and the log lines that processes of this machine still owed when they ended."""
        for owed in list((self.root / "owed").iterdir()):
            self._pay_if_free(owed)

    def _pay_if_free(self, owed: Path) -> None:
        place = owed.name.replace("~", "/")
        with suppress(BlockingIOError), self._holding(place, fcntl.LOCK_NB):  # whoever lives pays himself
            self._pay(place)

    def write(self, record: Record, *rest: Any) -> None:
        self.refresh(f"cells/{record.id}")  # another machine may have finished it while this one computed
        super().write(record, *rest)

    def finished(self) -> int:
        return sum(name.endswith("/record.json") for name in self.remote.below("cells"))

    def kept_weights(self) -> dict[str, int]:
        there = {**self.remote.below("cells"), **self.remote.below("superseded")}
        return {name: seen.size for name, seen in there.items() if name.endswith("/model.safetensors")}

    def remove(self, name: str) -> None:
        for found in sorted(self.remote.below(name), key=_order, reverse=True):
            self.remote.remove(found)
        super().remove(name)

    def _pay(self, place: str) -> None:
        if place.startswith("unsealed/") or (place.startswith("cells/") and self._is_owed(place)):
            self._send(place)
        self._owed(place).unlink(missing_ok=True)  # what else is owed is written again by whoever goes on

    def _is_owed(self, place: str) -> bool:
        """Whether a cell has ended here, and there is no end of it there that another machine wrote."""
        record, *_ = ends = [f"{place}/{end}" for end in ENDS]
        ours = next((name for name in ends if (self.root / name).is_file()), None)
        there = self.remote.below(place)
        if ours is None or (ours != record and record in there):
            return False
        return ours not in there or self._is_ours(ours, there[ours])

    def _is_ours(self, name: str, seen: ObjectInfo) -> bool:
        """Whether an object is, byte for byte, the file here."""
        theirs = self.root / f".{uuid4().hex}.part"
        try:
            self.remote.fetch(name, seen, theirs)
            return theirs.is_file() and theirs.read_bytes() == (self.root / name).read_bytes()
        finally:
            theirs.unlink(missing_ok=True)

    @contextmanager
    def _holding(self, place: str, how: int = 0) -> Iterator[Path]:
        """Hold a place, which is owed from now on; the operating system lets go of it when this process dies."""
        owed = self._owed(place)
        while True:
            with owed.open("a") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | how)
                if not _is_still(owed, stream.fileno()):
                    continue  # whoever held it before was done, and removed the file that we waited for
                yield owed
                return

    def _owed(self, place: str) -> Path:
        return self.root / "owed" / place.replace("/", "~")

    def _send(self, place: str) -> None:
        """Make what is there what is here. Weights that are there alone stay, beside the record they belong to."""
        there, here = self.remote.below(place), self._below(place)
        changed = {name for name in here if _seen(self.root / name) != there.get(name)}
        record = f"{place}/record.json"
        if record in changed and record in there and not self._is_ours(record, there[record]):
            return  # another machine finished the cell meanwhile: its files stand, and are brought here
        is_new = record not in there
        for name in sorted(set(there) - set(here), key=_order):
            if is_new:
                self.remote.remove(name)
        for name in sorted(changed, key=_order):
            self.remote.send(self.root / name, name)
        if changed:
            for name, seen in self.remote.below(place).items():
                if name in changed:
                    os.utime(self.root / name, ns=(seen.changed, seen.changed))

    def pull(self, places: Iterable[str], wanted: Callable[[str], bool]) -> None:
        """Make the wanted files below these places what they are there, except for what is being changed here."""
        began, places = time.time(), list(places)
        with ThreadPoolExecutor(THREADS) as pool:
            there: dict[str, ObjectInfo] = {}
            for found in pool.map(self.remote.below, places):
                there |= {name: seen for name, seen in found.items() if wanted(name)}
            here = {name for place in places for name in self._below(place) if wanted(name)}
            owed = {path.name.replace("~", "/") for path in (self.root / "owed").iterdir()}
            free = {name for name in {*here, *there} if not owed & {name, *folders_of(name)}}
            for name in free & here - set(there):
                self._drop(name, began)
            changed = {name: seen for name, seen in there.items() if name in free and _seen(self.root / name) != seen}
            last = {name for name in changed if _is_last(name)}
            for names in (set(changed) - last, last):  # as they were written: nothing is done before it is whole
                list(pool.map(lambda name: self._fetch(name, changed), names))

    def _fetch(self, name: str, changed: Mapping[str, ObjectInfo]) -> None:
        path = self.root / name
        if path.name == "record.json" and path.is_file():
            path.with_name("model.safetensors").unlink(missing_ok=True)  # they belong to the record that was here
        self.remote.fetch(name, changed[name], path)

    def _drop(self, name: str, began: float) -> None:
        """Remove what somebody removed there, unless it was written here since we looked."""
        path = self.root / name
        with suppress(FileNotFoundError):
            if path.stat().st_ctime < began:
                path.unlink()
                if path.name == "record.json":
                    path.with_name("model.safetensors").unlink(missing_ok=True)
        with suppress(OSError):
            for folder in path.parents:
                if self.root in (folder, folder.parent):
                    return
                folder.rmdir()

    def _below(self, place: str) -> list[str]:
        """Names of the files here, in a folder or of this very name; half-written ones are not among them."""
        start = self.root / place
        if start.is_file():
            return [place]
        found = [Path(folder, name) for folder, _, names in os.walk(start) for name in names]
        return [
            path.relative_to(self.root).as_posix()
            for path in found
            if not path.name.endswith(".part") and not path.name.startswith(".")
        ]

    def _supersede(self, cell: str) -> None:
        """Move the cell there; the record goes first, so that no half of it counts as done."""
        target = f"superseded/{cell}-{uuid4().hex[:8]}"
        names = sorted(self.remote.below(f"cells/{cell}"), key=lambda name: not _is_last(name))
        for name in names:
            self.remote.copy(name, f"{target}/{name.removeprefix(f'cells/{cell}/')}")
        for name in names:
            self.remote.remove(name)
        shutil.rmtree(self.folder(cell))

    def _unsealing_log(self, cell: str) -> str:
        return f"unsealed/{cell}-{self.writer}.jsonl"


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether a path still names the file that is open."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _seen(path: Path) -> ObjectInfo | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return ObjectInfo(status.st_size, status.st_mtime_ns)


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors")


def _is_last(name: str) -> bool:
    """Whether this file is what says that the others are whole."""
    return Path(name).name in ENDS or ("/evaluations/" in name and name.endswith(".json"))


def _order(name: str) -> tuple[bool, bool, str]:
    """In which order the files of a cell are written."""
    return "/evaluations/" in name, _is_last(name), name
