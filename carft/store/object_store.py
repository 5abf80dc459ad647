"""Objects below one URL of an object store: list, download, upload, copy, remove. Built on pyarrow; no torch.

Credentials, region and endpoint come from the environment, the profile or the role of each machine, and are never part
of a URL. pyarrow retries failed requests. What still fails raises :class:`StorageUnavailable` with a text of this
module, because the text of a server may repeat credentials.
"""

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from carft.core.errors import StorageUnavailable, UserError
from carft.core.files import write_atomic
from carft.store.results_folder import RESULT_FILE

#: schemes of URLs
SCHEMES = ("s3", "gs")
#: seconds until a connection, and a response, times out
CONNECT_S, SILENT_S = 3.0, 20.0
#: attempts of pyarrow for each request to S3; the pauses between them grow and take about 4 s in all
ATTEMPTS = 5
#: age in ns below which an object may change and keep its time, which S3 gives in whole seconds
YOUNG_NS = 2 * 10**9
CHUNK = 64 * 2**20
#: bytes of a file name; a file system allows 255, and the name of a part file is longer
LONGEST = 200

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
_PART = re.compile(r"(?!\.+$)[\w.@=+ -]+")
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
    """``text`` without a slash at its end; ``UserError`` if it is not scheme://bucket/prefix.

    The message does not repeat ``text``, which may hold credentials.
    """
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        forms = " or ".join(f"{name}://BUCKET/PREFIX" for name in SCHEMES)
        raise UserError(f"A URL that begins with '{scheme}://' cannot be used.", f"Give a folder, or {forms}.")
    bucket, *parts = rest.rstrip("/").split("/")
    if not _BUCKET.fullmatch(bucket) or not all(map(_PART.fullmatch, parts)):
        raise UserError(
            "The URL is not of the form s3://BUCKET/PREFIX; it may hold no credentials, no query, no '.' and no '..'.",
            "Put credentials into the environment (docs/cluster.md).",
        )
    return f"{scheme}://{'/'.join([bucket, *parts])}"


class ObjectStore:
    """The files of a results folder that are objects below a URL. Names are relative to the URL."""

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)
        self.scheme, _, self.root = self.url.partition("://")
        self.bucket = self.root.partition("/")[0]

    @cached_property
    def files(self) -> Any:
        """pyarrow's file system of the bucket."""
        with self.errors():
            if self.scheme == "s3":
                return _s3(self.bucket)
            return fs.FileSystem.from_uri(f"gs://{self.bucket}?retry_limit_seconds={SILENT_S:.0f}")[0]

    def require(self, writable: bool) -> None:
        """Raise ``UserError`` when the bucket does not exist or cannot be read, or cannot be written if it must be."""
        try:
            with self.errors():
                if self.files.get_file_info(self.bucket).type == fs.FileType.NotFound:
                    raise self._away(_MEANINGS["NO_SUCH_BUCKET"])
                self._listed("cells/-")
                if writable:
                    probe = f"{self.root}/.probe-{uuid4().hex}"
                    self.files.open_output_stream(probe).close()
                    self.files.delete_file(probe)
        except StorageUnavailable as away:
            hint = "See docs/cluster.md for endpoint, region and credentials; they come from the environment."
            raise UserError(f"{away.strerror}.", hint) from away

    def below(self, prefix: str) -> dict[str, ObjectInfo]:
        """Name -> size and time, of the objects in a folder, such as ``cells``, or of the object of this name."""
        with self.errors():
            objects = {info.path.removeprefix(f"{self.root}/"): info for info in self._listed(prefix)}
        folders = set[str]()  # may be objects as well
        for name in objects:
            for folder in PurePosixPath(name).parents:
                folders.add(str(folder))
        found = {}
        for name, info in objects.items():
            longest = max(len(part.encode()) for part in name.split("/"))
            if name not in folders and longest <= LONGEST and RESULT_FILE.fullmatch(name):
                found[name] = ObjectInfo(info.size, info.mtime_ns or 0)
        return found

    def _listed(self, prefix: str) -> list[Any]:
        path = f"{self.root}/{prefix}"
        if Path(path).suffix in (".json", ".jsonl", ".log", ".safetensors"):
            infos = self.files.get_file_info([path])
        else:
            infos = self.files.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=True))
        return [info for info in infos if info.type == fs.FileType.File]

    def fetch(self, name: str, seen: ObjectInfo, target: Path) -> None:
        """Download an object to a file with the time that was seen, atomically. A removed object is ignored.

        One that was replaced meanwhile has another time when it is seen next, and is downloaded again.
        """
        is_settled = time.time_ns() - seen.changed > YOUNG_NS
        stamp = seen.changed if is_settled else seen.changed - 1  # a wrong time forces the next download

        def download(part: Path) -> None:
            with self.errors(), self.files.open_input_stream(f"{self.root}/{name}") as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK)
            os.utime(part, ns=(stamp, stamp))

        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            write_atomic(target, download)

    def read(self, name: str) -> bytes:
        """The bytes of an object; none if it was removed."""
        try:
            with self.errors(), self.files.open_input_stream(f"{self.root}/{name}") as source:
                return source.read()
        except FileNotFoundError:
            return b""

    def send(self, path: Path, name: str) -> None:
        """Upload a file to an object, atomically."""
        with self.errors():
            fs.copy_files(str(path), f"{self.root}/{name}", destination_filesystem=self.files)

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


def _meaning(error: Exception) -> str:
    """What went wrong, without the text of the server."""
    said = _S3_ERROR.search(str(error))
    if said is None:
        return getattr(error, "strerror", None) or f"{type(error).__name__} of an unknown kind"
    code, status, operation = said.groups()
    if status == "403":
        code = "ACCESS_DENIED"
    words = _MEANINGS.get(code)
    if words is None:
        words = code.lower().replace("_", " ")
        if status:
            words += f" (HTTP {status})"
    return f"{words} ({operation})"


def endpoint() -> str:
    """The URL of a server that is not the cloud provider's, from the environment; empty by default."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _s3(bucket: str) -> Any:
    """pyarrow's client of a bucket; ``UserError`` when the URL of its server cannot be used."""
    server: dict[str, str] = {}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    address = endpoint()
    if address:
        scheme, _, host = address.rstrip("/").partition("://")
        if scheme not in ("http", "https") or not re.fullmatch(r"[\w.:\[\]/-]+", host):
            raise UserError("AWS_ENDPOINT_URL is not of the form https://HOST:PORT.", "Remove any credentials from it.")
        server = {"endpoint_override": host, "scheme": scheme}
    elif not region:
        with suppress(OSError, pa.ArrowException):  # the first request fails with the reason
            region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        **server,
        region=region,
        connect_timeout=CONNECT_S,
        request_timeout=SILENT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        allow_delayed_open=True,  # a small object takes one request
    )
