"""An object store as names below one URL: listed, fetched, sent, removed. Built on pyarrow; no torch.

Credentials, region and endpoint come from where the store's own tools look for them (environment, profile, the role of
the machine), on each machine for itself, and are never part of a URL. What fails raises :class:`StoreAway`, whose words
are ours, since what a server says may repeat what it was sent.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pyarrow as pa

from carft.core.errors import StorageUnavailable, UserError

Result = TypeVar("Result")

#: seconds until a server that does not accept a connection, or says nothing more, counts as away
CONNECT_S, SILENT_S = 3.0, 20.0
#: how often something is tried before the store counts as away, and seconds before the second time; they double
TRIES, PAUSE_S = 4, 0.5
#: S3 tells time in whole seconds: an object that is younger may change once more and look the same
YOUNG_NS = 2 * 10**9
CHUNK = 64 * 2**20
#: bytes of a file's name; a disk takes 255, and a part file bears a longer name
LONGEST = 200

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
_NAME = r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}"  # no folder, none above, nothing hidden
#: the names of a results folder; whatever else lies below the URL is not ours
_LAYOUT = re.compile(
    rf"(cells|superseded)/{_NAME}/(evaluations/)?{_NAME}|studies/{_NAME}/study\.json|"
    rf"(failures|sweeps|plans)/{_NAME}\.json|unsealed/{_NAME}\.jsonl|logs/{_NAME}\.log|unsealed\.jsonl"
)
#: what pyarrow says of an error of S3
_SAID = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))? during (\w+)")
#: S3's error -> what it means
_WORDS: Mapping[str, str] = {
    "NETWORK_CONNECTION": "it does not answer",
    "NO_SUCH_BUCKET": "there is no such bucket",
    "ACCESS_DENIED": "access is denied",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is not the right one",
    "EXPIRED_TOKEN": "the credentials have expired",
}
#: those that another try does not mend
_LASTING = tuple(_WORDS)[1:]


@dataclass(frozen=True)
class ObjectInfo:
    """An object, or a file that mirrors one. size: bytes; changed: ns since 1970, by the store's clock."""

    size: int
    changed: int


def is_url(results: str | Path) -> bool:
    """Whether this names no path."""
    return "://" in str(results)


def checked_url(text: str) -> str:
    """scheme://bucket/prefix, without a slash at its end; ``UserError`` for anything else, which is not repeated."""
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        raise UserError(
            f"Results cannot be kept at a URL that begins with '{scheme}://'.",
            f"Give a folder, or {' or '.join(f'{known}://BUCKET/PREFIX' for known in SCHEMES)}.",
        )
    bucket, *parts = rest.rstrip("/").split("/")
    if not _BUCKET.fullmatch(bucket) or not all(re.fullmatch(r"[\w.@=+ -]+", part) for part in parts):
        raise UserError(
            "The URL of the results is not of the form s3://BUCKET/PREFIX; it may hold no credentials and no query.",
            "Credentials belong into the environment (docs/cluster.md).",
        )
    if any(set(part) == {"."} for part in parts):
        raise UserError("The URL of the results holds a '.' or '..'.", "Write the prefix out.")
    return f"{scheme}://{'/'.join([bucket, *parts])}"


class _Gone(Exception):
    """An object that is not there any more."""


class ObjectStore:
    """The objects below a URL. Names are relative to it; only those of a results folder are seen."""

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)
        scheme, _, self.root = self.url.partition("://")
        self.bucket = self.root.partition("/")[0]
        self.files = SCHEMES[scheme](self.bucket)

    def require(self, writable: bool) -> None:
        """``UserError`` when the bucket is not there or may not be read, or written where that is asked for."""
        try:
            self._require_bucket()
            self._tried(lambda: self._listed(f"{self.root}/cells/-"), tries=1)
            if writable:
                probe = f"{self.root}/.probe-{uuid4().hex}"
                self._tried(lambda: self._write(probe, b""), tries=1)
                self._tried(lambda: self.files.delete_file(probe), tries=1)
        except StorageUnavailable as away:
            hint = "See docs/cluster.md for endpoint, region and credentials; they come from the environment."
            raise UserError(f"{away.strerror}.", hint) from away

    def _require_bucket(self) -> None:
        from pyarrow.fs import FileType

        info = self._tried(lambda: self.files.get_file_info(self.bucket), tries=1)
        if info.type == FileType.NotFound:
            raise self._away(_WORDS["NO_SUCH_BUCKET"])

    def below(self, place: str) -> dict[str, ObjectInfo]:
        """Name -> size and time of the objects in a folder, such as ``cells``, or of the one of this very name."""
        base, listed = f"{self.root}/", self._tried(lambda: self._listed(f"{self.root}/{place}"))
        found = {info.path.removeprefix(base): ObjectInfo(info.size, info.mtime_ns or 0) for info in listed}
        folders = {folder for name in found for folder in folders_of(name)}  # an object may bear the name of a folder
        return {name: seen for name, seen in found.items() if _is_file_name(name) and name not in folders}

    def _listed(self, path: str) -> list[Any]:
        from pyarrow.fs import FileSelector, FileType

        if Path(path).suffix in (".json", ".jsonl", ".log", ".safetensors"):
            found = self.files.get_file_info([path])
        else:
            found = self.files.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
        return [info for info in found if info.type == FileType.File]

    def fetch(self, name: str, seen: ObjectInfo, target: Path) -> None:
        """Bring an object to a file, which appears whole and bears the object's time; nothing when it is gone."""
        part = target.with_name(f".{target.name}-{uuid4().hex[:8]}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            for _ in range(TRIES):
                self._tried(lambda: self._read(name, part))
                now = seen if name.startswith("cells/") else self.below(name).get(name)
                if now == seen and part.stat().st_size == seen.size:
                    settled = time.time_ns() - seen.changed > YOUNG_NS
                    stamp = seen.changed if settled else seen.changed - 1  # the next look then takes it for another one
                    os.utime(part, ns=(stamp, stamp))
                    part.replace(target)
                    return
                if (now := self.below(name).get(name)) is None:
                    return
                seen = now  # it was replaced while it was read
        except _Gone:
            return
        finally:
            part.unlink(missing_ok=True)
        raise self._away(f"'{name}' is replaced faster than it can be read")

    def _read(self, name: str, target: Path) -> None:
        try:
            opened = self.files.open_input_stream(f"{self.root}/{name}")
        except FileNotFoundError as error:
            raise _Gone from error
        with opened as source, target.open("wb") as stream:
            while chunk := source.read(CHUNK):
                stream.write(chunk)

    def send(self, path: Path, name: str) -> None:
        """Put a file's bytes in an object, whole or not at all."""
        self._tried(lambda: self._send(path, f"{self.root}/{name}"))

    def _send(self, path: Path, target: str) -> None:
        if not path.stat().st_size:
            return self._write(target, b"")
        with pa.memory_map(str(path)) as source:  # read as it is sent: weights may be larger than memory
            self._write(target, source.read_buffer())

    def _write(self, target: str, content: Any) -> None:
        with self.files.open_output_stream(target) as stream:
            for start in range(0, len(content), CHUNK):
                stream.write(content[start : start + CHUNK])

    def copy(self, name: str, target: str) -> None:
        """Copy an object, in the store itself."""
        self._tried(lambda: self.files.copy_file(f"{self.root}/{name}", f"{self.root}/{target}"))

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""

        with suppress(FileNotFoundError):
            self._tried(lambda: self.files.delete_file(f"{self.root}/{name}"))

    def _tried(self, act: Callable[[], Result], tries: int = TRIES) -> Result:
        """What ``act`` gives, tried again after a while where that may help; ``StorageUnavailable`` in the end."""
        for number in range(tries):
            try:
                return act()
            except (StorageUnavailable, FileNotFoundError):
                raise
            except (OSError, pa.ArrowException) as error:
                why, lasts = _meaning(error)
                if lasts or number == tries - 1:
                    raise self._away(why) from None  # pyarrow's own words stay out of every traceback
            time.sleep(PAUSE_S * 2**number)
        raise AssertionError("unreachable")

    def _away(self, why: str) -> StorageUnavailable:
        return StorageUnavailable(errno.EIO, f"The object store '{self.url}' cannot be used: {why}")


def _is_file_name(name: str) -> bool:
    """Whether this is a name of a results folder that a disk can hold."""
    return _LAYOUT.fullmatch(name) is not None and all(len(part.encode()) <= LONGEST for part in name.split("/"))


def folders_of(name: str) -> list[str]:
    """The folders that a name lies in, the outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _meaning(error: Exception) -> tuple[str, bool]:
    """(what went wrong, in our words; whether trying again is useless)."""
    said = _SAID.search(str(error))
    if said is None:
        return (getattr(error, "strerror", None) or f"{type(error).__name__} without a word that is known"), False
    code, status, operation = said.groups()
    code = "ACCESS_DENIED" if status == "403" else code
    words = _WORDS.get(code, code.lower().replace("_", " ") + (f" (HTTP {status})" if status else ""))
    return f"{words} ({operation})", code in _LASTING


def endpoint(service: str = "S3") -> str:
    """The address of a server other than the cloud's own, from the environment; empty where there is none."""
    return os.environ.get(f"AWS_ENDPOINT_URL_{service}") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _s3(bucket: str) -> Any:
    return _s3_at(endpoint(), os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "", bucket)


@cache
def _s3_at(address: str, region: str, bucket: str) -> Any:
    from pyarrow import fs

    server = {}
    if address:
        scheme, _, host = address.rstrip("/").partition("://")
        if scheme not in ("http", "https") or not re.fullmatch(r"[\w.:\[\]/-]+", host):
            raise UserError(
                "AWS_ENDPOINT_URL is not of the form https://HOST:PORT.", "Credentials do not belong there."
            )
        server = {"endpoint_override": host, "scheme": scheme}
    elif not region:
        region = _region_of(bucket)
    return fs.S3FileSystem(
        **server,
        region=region or None,
        connect_timeout=CONNECT_S,
        request_timeout=SILENT_S,
        allow_delayed_open=True,  # a small object is one request
    )


def _region_of(bucket: str) -> str:
    from pyarrow import fs

    try:
        return fs.resolve_s3_region(bucket)
    except (OSError, pa.ArrowException):
        return ""  # the first request will say what is wrong


def _gcs(bucket: str) -> Any:
    try:
        from pyarrow.fs import GcsFileSystem
    except ImportError as error:
        raise UserError("This pyarrow cannot reach Google's object store.", "Give a folder or s3://.") from error
    return GcsFileSystem(retry_time_limit=timedelta(seconds=SILENT_S))


#: beginning of a URL -> what gives the file system of a bucket
SCHEMES: Mapping[str, Callable[[str], Any]] = {"s3": _s3, "gs": _gcs}
