"""Downloads of data sets by torchvision's functions, from its URLs and with its digests."""

import socket
import tarfile
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from carft.core.errors import UserError
from carft.data.indexing import indexed
from carft.data.sets import DataSet, is_fixture
from carft.data.shards import shards_in

#: seconds without data after which a download fails
TIMEOUT = 30


def fetch(data_set: DataSet, root: Path, log: Callable[[str], None] = lambda _: None) -> bool:
    """Download and unpack a data set under ``root``. Returns False if it already exists. log: gets progress messages.

    Raises ``UserError`` if the set has no download, the server cannot be reached, a digest differs, or an archive
    cannot be unpacked.
    """
    folder = root / data_set.folder
    if is_fixture(folder):
        raise UserError(f"'{folder}' is a fixture.", "Give --data another folder, or remove this one.")
    if shards_in(folder) is not None:
        return False
    with suppress(UserError):
        indexed(data_set, root)
        return False
    by_hand = f"Put the set into '{folder}'. {data_set.origin}"
    if not data_set.archives:
        raise UserError(f"The data set {data_set.name} cannot be downloaded from here.", by_hand)
    from torchvision.datasets.utils import download_url

    for archive in data_set.archives:
        path = root / archive.into / archive.name
        log(f"downloading {archive.url}")
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT)  # of which torchvision's function has none
        try:
            download_url(archive.url, path.parent, md5=archive.md5 or None)
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: another digest
            raise UserError(
                f"{archive.url} could not be downloaded: {getattr(error, 'reason', error)}",
                f"Run this where the network reaches it, or get it by hand. {by_hand}",
            ) from error
        finally:
            socket.setdefaulttimeout(before)
        if path.name.endswith((".tar", ".tar.gz", ".tgz")):
            log(f"unpacking {path}")
            try:
                with tarfile.open(path) as packed:  # torchvision's function unpacks to any path
                    packed.extractall(path.parent, filter="data")
            except (tarfile.TarError, OSError, EOFError) as error:
                raise UserError(f"'{path}' cannot be unpacked: {error}.", "Remove it and download it again.") from error
    return True
