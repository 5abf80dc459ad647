"""Downloads of data sets, from torchvision's URLs and with its digests. No torch.

torchvision's download functions have no timeout, accept an incomplete file without a known digest, and unpack archives
to any path. Here a file gets its name only when it is complete, and tarfile's ``data`` filter unpacks archives.
"""

import shutil
import tarfile
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import file_digest, write_atomic
from carft.data.sets import DataSet, Download, is_fixture
from carft.data.shards import shards_in

#: seconds without data after which a download fails
TIMEOUT = 30
CHUNK = 1 << 20


def fetch(data_set: DataSet, root: Path, log: Callable[[str], None] = lambda _: None) -> bool:
    """Download and unpack a data set under ``root``. Returns False if it already exists. log: gets progress messages.

    Raises ``UserError`` if the set has no download, the server cannot be reached, a digest differs, or an archive
    cannot be unpacked.
    """
    if is_fixture(root / data_set.folder):
        raise UserError(f"'{root / data_set.folder}' is a fixture.", "Give --data another folder, or remove this one.")
    if shards_in(root / data_set.folder) is not None:
        return False
    with suppress(UserError):
        data_set.index(root)
        return False
    by_hand = f"Put the set into '{root / data_set.folder}'. {data_set.origin}"
    if not data_set.archives:
        raise UserError(f"The data set {data_set.name} cannot be downloaded from here.", by_hand)
    for archive in data_set.archives:
        path = root / archive.into / archive.name
        if path.is_file() and _is_complete(path, archive):
            log(f"{path} exists already")
        else:
            log(f"downloading {archive.url}")
            _download(archive, path, otherwise=f"Run this where the network reaches it, or get it by hand. {by_hand}")
        if path.name.endswith((".tar", ".tar.gz", ".tgz")):
            log(f"unpacking {path}")
            try:
                with tarfile.open(path) as packed:
                    packed.extractall(path.parent, filter="data")
            except (tarfile.TarError, OSError, EOFError) as error:
                raise UserError(
                    f"'{path}' cannot be unpacked: {error}.",
                    "Remove it and download it again. Nothing was written outside its folder.",
                ) from error
    return True


def _is_complete(path: Path, archive: Download) -> bool:
    return not archive.md5 or file_digest(path, "md5") == archive.md5


def _download(archive: Download, path: Path, otherwise: str) -> None:
    """Download a file. Raises ``UserError`` with the hint ``otherwise`` where it cannot be had."""

    def write(part: Path) -> None:
        with urllib.request.urlopen(archive.url, timeout=TIMEOUT) as response, part.open("wb") as stream:
            shutil.copyfileobj(response, stream, CHUNK)
            expected = response.headers.get("Content-Length")
        if expected is not None and part.stat().st_size != int(expected):
            raise OSError(f"the connection ended after {part.stat().st_size:,} of {int(expected):,} bytes")
        if not _is_complete(part, archive):
            raise UserError(
                f"The download from {archive.url} is not the expected file: its md5 is not {archive.md5}.",
                "It was deleted. Try again, or get the set from another source.",
            )

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, write)
    except (OSError, HTTPException) as error:  # no network, unknown host, refused or lost connection, full disk
        reason = getattr(error, "reason", error)
        raise UserError(f"{archive.url} could not be downloaded: {reason}.", otherwise) from error
