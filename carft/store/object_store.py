"""Objects below one URL of an object store: list, download, upload, copy, remove. Built on pyarrow; no torch.

Credentials, region and endpoint come from the environment, the profile or the role of each machine, and are never part
of a URL. pyarrow retries failed requests. What still fails raises :class:`StorageUnavailable` with a text of this
module, because the text of a server may repeat credentials.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from carft.core.errors import StorageUnavailable, UserError

#: seconds until a connection, and a response, times out
CONNECT_S, SILENT_S = 3.0, 20.0
#: attempts of pyarrow for each request to S3; the pauses between them grow and take about 4 s in all
ATTEMPTS = 5
#: downloads of an object that is replaced meanwhile
DOWNLOADS = 4
#: age in ns below which an object may change and keep its time, which S3 gives in whole seconds
YOUNG_NS = 2 * 10**9
CHUNK = 64 * 2**20
#: bytes of a file name; a file system allows 255, and the name of a part file is longer
LONGEST = 200

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
_NAME = r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}"  # one path component; neither hidden nor ..
#: names of the files of a results folder; other objects below the URL are ignored
_LAYOUT = re.compile(
    rf"(cells|superseded)/{_NAME}/(evaluations/)?{_NAME}|studies/{_NAME}/study\.json|"
    rf"(failures|sweeps|plans|tasks|methods)/{_NAME}\.json|predictions/{_NAME}\.parquet|(unsealed|journal)/{_NAME}\.jsonl|logs/{_NAME}\.log|unsealed\.jsonl|"
    r"folders\.json"
)
#: error of S3 in a message of pyarrow
_S3_ERROR = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))? during (\w+)")
#: error of S3 -> its meaning
_MEANINGS: Mapping[str, str] = {
    "NETWORK_CONNECTION": "it does not answer",
    "NO_SUCH_BUCKET": "there is no such bucket",
    "ACCESS_DENIED": "access is denied",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is not the right one",
    "EXPIRED_TOKEN": "the credentials have expired",
}


@dataclass(frozen=True)
class ObjectInfo:
    """Size and time of an object, or of the file that mirrors it."""

    size: int
    """Size in bytes."""
    changed: int
    """Unix time of the last change in ns, by the clock of the object store."""


def is_url(results: str | Path) -> bool:
    """Whether a results folder is given as a URL, and not as a path."""
    return "://" in str(results)


def checked_url(text: str) -> str:
    """``text`` without a slash at its end, if it is scheme://bucket/prefix.

    Raises:
        UserError: It is not. The message does not repeat ``text``, which may hold credentials.
    """
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        raise UserError(
            f"A URL that begins with '{scheme}://' cannot be used.",
            f"Give a folder, or {' or '.join(f'{name}://BUCKET/PREFIX' for name in SCHEMES)}.",
        )
    bucket, *parts = rest.rstrip("/").split("/")
    if not _BUCKET.fullmatch(bucket) or not all(re.fullmatch(r"[\w.@=+ -]+", part) for part in parts):
        raise UserError(
            "The URL is not of the form s3://BUCKET/PREFIX; it may hold no credentials and no query.",
            "Put credentials into the environment (docs/cluster.md).",
        )
    if any(set(part) == {"."} for part in parts):
        raise UserError("The URL holds a '.' or '..'.", "Write the full prefix.")
    return f"{scheme}://{'/'.join([bucket, *parts])}"


class _Gone(Exception):
    """An object was removed."""


class ObjectStore:
    """The files of a results folder that are objects below a URL. Names are relative to the URL."""

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)
        scheme, _, self.root = self.url.partition("://")
        self.bucket = self.root.partition("/")[0]
        self.files = SCHEMES[scheme](self.bucket)

    def require(self, writable: bool) -> None:
        """Raise ``UserError`` when the bucket does not exist or cannot be read, or cannot be written if it must be."""
        from pyarrow.fs import FileType

        try:
            with self.errors():
                if self.files.get_file_info(self.bucket).type == FileType.NotFound:
                    raise self._away(_MEANINGS["NO_SUCH_BUCKET"])
                self._listed(f"{self.root}/cells/-")
                if writable:
                    probe = f"{self.root}/.probe-{uuid4().hex}"
                    self._write(probe, b"")
                    self.files.delete_file(probe)
        except StorageUnavailable as away:
            hint = "See docs/cluster.md for endpoint, region and credentials; they come from the environment."
            raise UserError(f"{away.strerror}.", hint) from away

    def below(self, prefix: str) -> dict[str, ObjectInfo]:
        """Name -> size and time, of the objects in a folder, such as ``cells``, or of the object of this name."""
        with self.errors():
            base, listed = f"{self.root}/", self._listed(f"{self.root}/{prefix}")
        objects = {info.path.removeprefix(base): ObjectInfo(info.size, info.mtime_ns or 0) for info in listed}
        folders = {folder for name in objects for folder in folders_of(name)}  # an object can have the name of a folder
        return {name: seen for name, seen in objects.items() if _is_file_name(name) and name not in folders}

    def _listed(self, path: str) -> list[Any]:
        from pyarrow.fs import FileSelector, FileType

        if Path(path).suffix in (".json", ".jsonl", ".log", ".safetensors"):
            infos = self.files.get_file_info([path])
        else:
            infos = self.files.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
        return [info for info in infos if info.type == FileType.File]

    def fetch(self, name: str, seen: ObjectInfo, target: Path) -> None:
        """Download an object to a file with the same time, atomically. A removed object is ignored."""
        part = target.with_name(f".{target.name}-{uuid4().hex[:8]}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            for _ in range(DOWNLOADS):
                with self.errors():
                    self._read(name, part)
                now = seen if name.startswith("cells/") else self.below(name).get(name)
                if now == seen and part.stat().st_size == seen.size:
                    settled = time.time_ns() - seen.changed > YOUNG_NS
                    # of a young object a time that is not its own, so that it is downloaded again next time
                    stamp = seen.changed if settled else seen.changed - 1
                    os.utime(part, ns=(stamp, stamp))
                    part.replace(target)
                    return
                if (now := self.below(name).get(name)) is None:
                    return
                seen = now  # it was replaced during the download
        except _Gone:
            return
        finally:
            part.unlink(missing_ok=True)
        raise self._away(f"'{name}' is replaced faster than it can be downloaded")

    def _read(self, name: str, target: Path) -> None:
        try:
            opened = self.files.open_input_stream(f"{self.root}/{name}")
        except FileNotFoundError as error:
            raise _Gone from error
        with opened as source, target.open("wb") as stream:
            while chunk := source.read(CHUNK):
                stream.write(chunk)

    def send(self, path: Path, name: str) -> None:
        """Upload a file to an object, atomically."""
        target = f"{self.root}/{name}"
        with self.errors():
            if not path.stat().st_size:
                return self._write(target, b"")
            with pa.memory_map(str(path)) as source:  # read during the upload: weights can exceed memory
                self._write(target, source.read_buffer())

    def _write(self, target: str, content: Any) -> None:
        with self.files.open_output_stream(target) as stream:
            for start in range(0, len(content), CHUNK):
                stream.write(content[start : start + CHUNK])

    def copy(self, name: str, target: str) -> None:
        """Copy an object within the object store."""
        with self.errors():
            self.files.copy_file(f"{self.root}/{name}", f"{self.root}/{target}")

    def remove(self, name: str) -> None:
        """Remove an object, if it exists."""
        with suppress(FileNotFoundError), self.errors():
            self.files.delete_file(f"{self.root}/{name}")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise ``StorageUnavailable`` for an error of pyarrow. Its text is left out: it may repeat credentials."""
        try:
            yield
        except (StorageUnavailable, FileNotFoundError):
            raise
        except (OSError, pa.ArrowException) as error:
            raise self._away(_meaning(error)) from None

    def _away(self, why: str) -> StorageUnavailable:
        return StorageUnavailable(errno.EIO, f"The object store '{self.url}' cannot be used: {why}")


def _is_file_name(name: str) -> bool:
    """Whether this is the name of a file of a results folder, short enough for a file system."""
    return _LAYOUT.fullmatch(name) is not None and all(len(part.encode()) <= LONGEST for part in name.split("/"))


def folders_of(name: str) -> list[str]:
    """The folders of a name, the outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _meaning(error: Exception) -> str:
    """What went wrong, without the text of the server."""
    said = _S3_ERROR.search(str(error))
    if said is None:
        return getattr(error, "strerror", None) or f"{type(error).__name__} of an unknown kind"
    code, status, operation = said.groups()
    code = "ACCESS_DENIED" if status == "403" else code
    words = _MEANINGS.get(code, code.lower().replace("_", " ") + (f" (HTTP {status})" if status else ""))
    return f"{words} ({operation})"


def endpoint(service: str = "S3") -> str:
    """The URL of a server that is not the cloud provider's, from the environment; empty by default."""
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
            raise UserError("AWS_ENDPOINT_URL is not of the form https://HOST:PORT.", "Remove any credentials from it.")
        server = {"endpoint_override": host, "scheme": scheme}
    elif not region:
        region = _region_of(bucket)
    return fs.S3FileSystem(
        **server,
        region=region or None,
        connect_timeout=CONNECT_S,
        request_timeout=SILENT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        allow_delayed_open=True,  # a small object takes one request
    )


def _region_of(bucket: str) -> str:
    from pyarrow import fs

    try:
        return fs.resolve_s3_region(bucket)
    except (OSError, pa.ArrowException):
        return ""  # the first request fails with the reason


def _gcs(bucket: str) -> Any:
    try:
        from pyarrow.fs import GcsFileSystem
    except ImportError as error:
        raise UserError("This pyarrow has no client for Google's object store.", "Give a folder or s3://.") from error
    return GcsFileSystem(retry_time_limit=timedelta(seconds=SILENT_S))


#: scheme of a URL -> function that returns the file system of a bucket
SCHEMES: Mapping[str, Callable[[str], Any]] = {"s3": _s3, "gs": _gcs}
