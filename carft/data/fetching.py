"""Download of what torchvision may download, with digests where they are on record. No torch.

torchvision's own download has no time limit, takes a half-loaded file for whole where it knows no digest, and unpacks
whatever path an archive names. So the addresses and digests are its, and the few lines are ours: a file appears under
its name only when it is whole, and ``tarfile``'s ``data`` filter keeps an archive inside its folder.
"""

from __future__ import annotations

import shutil
import tarfile
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import file_digest
from carft.data.fixtures import is_fixture
from carft.data.sets import DataSet, Download

#: seconds without a byte after which a download is given up
PATIENCE = 30
CHUNK = 1 << 20


def fetch(data_set: DataSet, root: Path, tell: Callable[[str], None] = lambda _: None) -> bool:
    """Download and unpack a data set under ``root``; False when it is there already. tell: is given lines of progress.

    ``UserError`` when it may not be downloaded, cannot be reached, is not what its digest says, or does not unpack.
    """
    if is_fixture(root / data_set.place):
        raise UserError(f"'{root / data_set.place}' is a fixture.", "Give --root another folder, or remove this one.")
    if _present(data_set, root):
        return False
    if not data_set.archives:
        raise UserError(
            f"The data set {data_set.name} cannot be downloaded from here.",
            f"Put it into '{root / data_set.place}'. Its source: {data_set.source}. Licence: {data_set.licence}.",
        )
    for archive in data_set.archives:
        folder = _made(root / archive.into)
        path = folder / archive.name
        if path.is_file() and _whole(path, archive):
            tell(f"{path} is here already")
        else:
            tell(f"downloading {archive.url}")
            _download(data_set, root, archive, path)
        if _is_tar(path):
            tell(f"unpacking {path}")
            _unpack(path, folder)
    return True


def _present(data_set: DataSet, root: Path) -> bool:
    try:
        data_set.index(root)
    except UserError:
        return False
    return True


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"'{folder}' cannot be made: {error.strerror}.", "Give --root another folder.") from error
    return folder


def _whole(path: Path, archive: Download) -> bool:
    return not archive.md5 or file_digest(path, "md5") == archive.md5


def _download(data_set: DataSet, root: Path, archive: Download, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with urllib.request.urlopen(archive.url, timeout=PATIENCE) as response, part.open("wb") as stream:
            shutil.copyfileobj(response, stream, CHUNK)
            expected = response.headers.get("Content-Length")
        if expected is not None and part.stat().st_size != int(expected):
            raise OSError(f"it broke off after {part.stat().st_size:,} of {int(expected):,} bytes")
    except (OSError, HTTPException) as error:  # no network, no such host, a refused or broken connection, a full disk
        part.unlink(missing_ok=True)
        raise UserError(
            f"{archive.url} could not be downloaded: {getattr(error, 'reason', error)}.",
            f"Run this where the network reaches it, or put the set into '{root / data_set.place}'. "
            f"Its source: {data_set.source}. Licence: {data_set.licence}.",
        ) from error
    if not _whole(part, archive):
        part.unlink()
        raise UserError(
            f"What came from {archive.url} is not the file on record: its md5 is not {archive.md5}.",
            "It was thrown away. Try again; if it stays so, get the set from another source.",
        )
    part.replace(path)


def _is_tar(path: Path) -> bool:
    return path.name.endswith((".tar", ".tar.gz", ".tgz"))


def _unpack(path: Path, folder: Path) -> None:
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(
            f"'{path}' cannot be unpacked: {error}.",
            "Remove it and download it again. Nothing was written outside its folder.",
        ) from error
