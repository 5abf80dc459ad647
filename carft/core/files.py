"""Atomic writes that are on disk when they return, digests of files, safe file names, locks."""

import errno
import fcntl
import hashlib
import io
import json
import math
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from carft.core.errors import UserError, without_surrogates
from carft.core.heartbeat import heartbeat

Result = TypeVar("Result")


def require_plain_name(name: str) -> str:
    """Return ``name`` if it is a plain file name. Raises ``UserError`` for a path, an empty name or one with a null."""
    if not isinstance(name, str) or name in ("", ".", "..") or set("/\\\0") & set(name):
        raise UserError(f"'{name}' is not the name of a cell.", "Names in a results folder hold no path.")
    return name


def given_path(text: str | Path) -> Path:
    """Return the path that a person gave, with ``~`` replaced. Raises ``UserError`` for an unknown user and no path."""
    try:
        if b"\0" in os.fsencode(text):
            raise ValueError("it holds a zero byte")
        return Path(text).expanduser()
    except (RuntimeError, ValueError) as error:
        why = str(error).rstrip(".")
        raise UserError(
            f"{str(text)!a} is no path of this machine: {why}.", "Write it in full, or set HOME."
        ) from error


def require_utf8(path: str | Path) -> None:
    """Raise ``UserError`` for a path that is not UTF-8: records and tables are text, and hold paths."""
    shown = without_surrogates(str(path))
    if shown != str(path):
        raise UserError(f"The name '{shown}' is not UTF-8.", "Rename the file or folder.")


def read_given(path: Path, what: str, hint: str) -> str:
    """Return the text of a file that a person named. Raises ``UserError``, with this hint, if it cannot be read.

    what: what the file is, such as "tasks file".
    """
    try:
        return read_plain(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"The {what} '{path}' cannot be read: {why}.", hint) from error


def require_plain_file(path: Path) -> os.stat_result:
    """Return the status of a file or folder.

    Raises ``UserError`` for a named pipe or a device, which can be read without end, and ``OSError`` for no file.
    """
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise UserError(f"'{path}' is no plain file.", "Remove it, or replace it with a file.")
    return found


def open_plain(path: Path) -> io.BufferedReader:
    """Open a file for reading. Raises ``OSError``, and as :func:`require_plain_file`: a pipe is never waited for."""
    require_plain_file(path)
    return path.open("rb")


def read_plain(path: Path) -> bytes:
    """Return the bytes of a file. Raises as :func:`open_plain`."""
    with open_plain(path) as stream:
        return stream.read()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file's bytes. algorithm: a name that ``hashlib`` knows.

    Raises as :func:`open_plain`.
    """
    with open_plain(path) as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys, atomically. Raises ``ValueError`` for a number that is not finite."""
    content_bytes = json_bytes(content)
    write_atomic(path, lambda part: part.write_bytes(content_bytes))


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the bytes that :func:`write_json` writes."""
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, atomically."""
    write_atomic(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_atomic(path: Path, write: Callable[[Path], Result]) -> Result:
    """Call ``write`` with a temporary file in the same folder, flush the file to disk, then rename it to ``path``.

    Returns what ``write`` returned.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        result = write(part)
        _flush(part, os.O_RDWR)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return result


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk: a file that was created or renamed is else lost when the power fails.

    On a file system that cannot do so, nothing happens. Raises ``OSError`` if the folder cannot be opened or flushed.
    """
    try:
        _flush(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (*UNSUPPORTED, errno.EBADF):
            raise


def _flush(path: Path, flags: int) -> None:
    """Flush a file or folder to disk. flags: those of ``os.open``."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Create a folder and its parents, where they are missing, and flush their names to disk."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def files_below(root: Path, folders: tuple[str, ...]) -> list[str]:
    """Return the paths, relative to ``root`` and sorted, of all files below the given folders of ``root``.

    Hidden and temporary files are left out. Raises ``UserError`` for a symbolic link, since the folder may come from
    another machine and a link may point to any file, and as :func:`require_plain_file`.
    """
    paths: list[str] = []
    waiting = list(folders)  # relative to root
    while waiting:
        folder = waiting.pop()
        if not (root / folder).is_dir():
            continue
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise UserError(f"'{entry.path}' is a link.", "Replace it with the file itself.")
                path = f"{folder}/{entry.name}".lstrip("/")
                if entry.is_dir():
                    waiting.append(path)
                    continue
                if not entry.is_file():
                    require_plain_file(Path(entry.path))
                if not entry.name.startswith(".") and not entry.name.endswith(".part"):
                    paths.append(path)
    return sorted(paths)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder and rename it to ``target`` if the block succeeds.

    Raises ``UserError`` if ``target`` exists and is not an empty folder, or if it cannot be written.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UserError(f"'{target}' exists already.", "Name a folder that does not exist yet.")
    part = target.with_name(f".{target.name}-{uuid4().hex[:8]}")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"'{target}' cannot be written: {error.strerror}.", "Name a folder you may write to."
        ) from error
    try:
        yield part
        if target.is_dir():
            target.rmdir()
        part.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


#: seconds between two tries to get a lock
POLL_S = 0.2
#: errors of a file system that has no locks, or cannot flush a folder
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def try_lock(descriptor: int) -> bool:
    """Lock a file that is open for writing; false if another process holds the lock.

    On a file system without locks, lock nothing.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    return True


@contextmanager
def locked(path: Path, patience_s: float = math.inf) -> Iterator[None]:
    """Hold the lock of a file, as of :func:`try_lock`, which is created if it is missing. Waiting counts as progress.

    Raises ``OSError`` if the file cannot be opened for writing, and ``TimeoutError`` if another process holds the lock
    for ``patience_s`` seconds.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS refuses to lock a file that is open for reading
    until = time.monotonic() + patience_s
    try:
        while not try_lock(descriptor):
            if time.monotonic() > until:
                raise TimeoutError(f"another process holds the lock '{path}'")
            heartbeat()
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)
