"""Downloads, from a server on this machine: whole or refused in a sentence, never outside the folder."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from carft.catalog.families import DATA_SETS
from carft.core.errors import UserError
from carft.data.fetching import fetch
from carft.data.sets import MARKER, DataSet, Download


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Short(BaseHTTPRequestHandler):
    """Promises more bytes than it sends."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"short")

    def log_message(self, *_: object) -> None:
        pass


def serve(handler) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = serve(partial(Quiet, directory=str(folder)))
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def packed(folder: Path, scratch: Path) -> str:
    """Pack DTD's fixture, without its mark, as the real archive is packed; gives its md5."""
    DATA_SETS["dtd"].fixture(scratch)
    (scratch / "dtd" / MARKER).unlink()
    with tarfile.open(folder / "dtd.tar.gz", "w:gz") as archive:
        archive.add(scratch / "dtd" / "dtd", "dtd")
    shutil.rmtree(scratch)
    return hashlib.md5((folder / "dtd.tar.gz").read_bytes()).hexdigest()


def of(address: str, md5: str = "", name: str = "dtd.tar.gz") -> DataSet:
    return replace(DATA_SETS["dtd"], archives=(Download(f"{address}/{name}", md5, "dtd"),))


def test_a_set_is_downloaded_unpacked_and_then_left_alone(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    chosen, root = of(address, packed(folder, tmp_path / "scratch")), tmp_path / "data"
    told: list[str] = []
    assert fetch(chosen, root, told.append)
    assert len(chosen.index(root)["train"]) == 141
    assert [line.split()[0] for line in told] == ["downloading", "unpacking"]
    (folder / "dtd.tar.gz").unlink()
    assert not fetch(chosen, root)


def test_another_file_than_that_on_record_is_refused(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    packed(folder, tmp_path / "scratch")
    for _ in range(2):  # the file that the first attempt left is not used
        with pytest.raises(UserError, match="corrupted"):
            fetch(of(address, "0" * 32), tmp_path / "data")


def test_without_a_network_it_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        fetch(of("http://127.0.0.1:1"), tmp_path)
    assert DATA_SETS["dtd"].licence in caught.value.hint


def test_a_download_that_breaks_off_is_refused(tmp_path: Path) -> None:
    server = serve(Short)
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch(of(f"http://127.0.0.1:{server.server_port}"), tmp_path)
    server.shutdown()
    server.server_close()


def member(name: str, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


@pytest.mark.parametrize(
    "info",
    [
        member("../../outside.txt", size=4),
        member("/carft-outside.txt", size=4),
        member("link", type=tarfile.SYMTYPE, linkname="../../.."),
    ],
    ids=lambda info: info.name,
)
def test_an_archive_cannot_leave_its_folder(info: tarfile.TarInfo, served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    with tarfile.open(folder / "dtd.tar.gz", "w:gz") as archive:
        archive.addfile(info, io.BytesIO(b"evil"))
    data = tmp_path / "deep" / "data"
    try:
        fetch(of(address), data)
    except UserError as refusal:
        assert "cannot be unpacked" in refusal.message
    assert not (tmp_path / "outside.txt").exists() and not (tmp_path / "deep" / "outside.txt").exists()
    assert not Path("/carft-outside.txt").exists()
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_a_single_file_is_put_in_its_place(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    (folder / "setid.mat").write_bytes(b"table")
    chosen = replace(DATA_SETS["flowers"], archives=(Download(f"{address}/setid.mat", "", "flowers-102"),))
    assert fetch(chosen, tmp_path / "data")
    assert (tmp_path / "data" / "flowers-102" / "setid.mat").read_bytes() == b"table"


def test_a_fixture_is_not_mixed_with_a_download(tmp_path: Path) -> None:
    DATA_SETS["dtd"].fixture(tmp_path)
    with pytest.raises(UserError, match="is a fixture"):
        fetch(DATA_SETS["dtd"], tmp_path)
