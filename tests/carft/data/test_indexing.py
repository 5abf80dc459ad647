"""An index of a data set holds what listing gives, is shared, and is made again when the data set changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from carft.catalog.catalog import BUILT_IN
from carft.catalog.families import DATA_SETS
from carft.core.errors import UserError
from carft.core.heartbeat import on_heartbeat
from carft.data import indexing
from carft.data.index import Index, read_index
from carft.data.indexing import VARIABLE, indexed
from carft.data.sets import DataSet
from tests.support.helpers import environment

PLAIN = list(DATA_SETS)
#: of many classes, whose fixtures take seconds to draw; imagenet-v2 stands for them in the fast lane
SLOW = ("domainnet", "imagenet", "imagenet-sketch", "sun397")
#: small, with images in several folders and annotation files
DTD = DATA_SETS["dtd"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a fixture, whose files are older than the time within which changes may not show."""
    root = tmp_path_factory.mktemp("drawn")
    DTD.fixture(root)
    return root


@pytest.fixture
def root(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(indexing, "OWN", str(tmp_path / "own"))
    monkeypatch.delenv(indexing.VARIABLE)
    shutil.copytree(drawn, tmp_path / "data")
    settle(tmp_path / "data")
    return tmp_path / "data"


def makes(data_set: DataSet, root: Path, **options: bool) -> bool:
    """Look a data set up; return whether its index was made."""
    with mock.patch.object(indexing, "new_index", wraps=indexing.new_index) as make:
        indexed(data_set, root, **options)
    return bool(make.called)


def settle(root: Path) -> None:
    """Make all files and folders an hour older."""
    for path in (root, *root.rglob("*")):
        when = path.stat().st_mtime - 3600
        os.utime(path, (when, when))


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The images that were decoded."""
    found: list[str] = []
    whole = indexing.decode_pixels

    def decode(path: Path) -> object:
        found.append(path.name)
        return whole(path)

    monkeypatch.setattr(indexing, "decode_pixels", decode)
    yield found


def image(root: Path, number: int = 0) -> Path:
    return sorted((root / "dtd" / "dtd" / "images").rglob("*.jpg"))[number]


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.full] * (name in SLOW)) for name in PLAIN])
def test_an_index_gives_exactly_what_listing_gives(name: str, tmp_path: Path) -> None:
    one = BUILT_IN.data_sets(name)[0]
    one.fixture(tmp_path)
    settle(tmp_path)
    listed = one.index(tmp_path)
    made, read = indexed(one, tmp_path), indexed(one, tmp_path)
    assert not makes(one, tmp_path) and (tmp_path / "carft-index" / f"{name}.arrow").is_file()
    for found in (made, read):
        assert list(found.splits) == list(listed)
        for split, index in listed.items():
            stored = found.splits[split]
            assert (index.paths, index.labels, index.groups) == (stored.paths, stored.labels, stored.groups)
            assert [type(path) for path in stored.paths[:1]] == [type(index.paths[0])]
        assert found.digest == indexing.digest_of(tmp_path / one.folder, listed)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file is added": lambda root: shutil.copy(image(root), image(root).with_name("zz.jpg")),
    "a file is removed": lambda root: image(root).with_name("unlisted.jpg").unlink(),
    "a file is renamed": lambda root: image(root).with_name("unlisted.jpg").rename(image(root).with_name("other.jpg")),
    "an image changes its size": lambda root: image(root, 2).write_bytes(image(root, 2).read_bytes() + b"\0"),
    "an image changes at its size": lambda root: image(root, 2).write_bytes(image(root, 2).read_bytes()[::-1]),
    "a class folder comes": lambda root: (image(root).parents[1] / "other").mkdir(),
    "a list changes": lambda root: (root / "dtd/dtd/labels/train1.txt").write_text(
        "".join((root / "dtd/dtd/labels/train1.txt").read_text().splitlines(True)[1:])
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_index_of_a_changed_data_set_is_made_again(change: str, root: Path) -> None:
    shutil.copy(image(root), image(root).with_name("unlisted.jpg"))
    settle(root)
    before = indexed(DTD, root)
    assert not makes(DTD, root)
    CHANGES[change](root)
    after = indexed(DTD, root)
    assert {k: list(v.paths) for k, v in after.splits.items()} == {k: list(v.paths) for k, v in DTD.index(root).items()}
    assert [path.name for path in before.splits["train"].paths[:2]] == ["00001.jpg", "00002.jpg"]
    assert (after.digest == before.digest) == (change not in ("an image changes its size", "a list changes"))


def test_a_folder_that_changed_in_the_moment_of_listing_is_listed_again(root: Path) -> None:
    image(root).parent.touch()
    assert [makes(DTD, root) for _ in range(2)] == [True, True]
    settle(root)
    assert [makes(DTD, root) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("spoil", ["truncated", "flipped", "empty"])
def test_a_corrupt_index_is_made_again(root: Path, spoil: str) -> None:
    indexed(DTD, root)
    path = root / "carft-index" / "dtd.arrow"
    content = bytearray(path.read_bytes())
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes({"truncated": content[:-40], "flipped": flipped, "empty": b""}[spoil])
    assert read_index(path) is None
    assert makes(DTD, root) and not makes(DTD, root)


def test_unreadable_images_are_found_once_and_stay_known(
    root: Path, decodes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "CHUNK", 50)
    broken, beats = image(root, 3), []
    broken.write_bytes(broken.read_bytes()[:300])
    settle(root)
    with on_heartbeat(lambda: beats.append(1)):
        first = indexed(DTD, root, decoded=True)
    assert list(first.unreadable) == [broken] and str(broken) in first.unreadable[broken]
    count = len(decodes)
    assert count == sum(map(len, first.splits.values())) and len(beats) >= 2 * -(-count // 50)
    again = indexed(DTD, root, decoded=True)
    assert again.unreadable == first.unreadable and len(decodes) == count
    assert indexed(DTD, root).unreadable == {}  # nobody asked
    Image.new("RGB", (8, 8)).save(broken)
    assert indexed(DTD, root, decoded=True).unreadable == {} and len(decodes) == 2 * count


def test_a_data_folder_that_cannot_be_written_has_its_index_elsewhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "carft-index").write_text("in the way")  # as good as a read-only folder, also for root
    indexed(DTD, root)
    assert list((tmp_path / "own").glob("*.arrow")) and not makes(DTD, root)
    shutil.rmtree(tmp_path / "own")
    (tmp_path / "own").write_text("in the way")
    found = indexed(DTD, root)
    assert found.digest == indexing.digest_of(root / "dtd", DTD.index(root))
    monkeypatch.setenv(VARIABLE, "~no-such-user/indexes")  # as for a user without a home
    with pytest.raises(UserError, match="set HOME"):
        indexed(DTD, root)


MAKE = """
import sys, pathlib
from carft.catalog.families import DATA_SETS
from carft.data import indexing
made, make = [], indexing.new_index
indexing.new_index = lambda *arguments: made.append(1) or make(*arguments)
found = indexing.indexed(DATA_SETS["dtd"], pathlib.Path(sys.argv[1]), decoded=True)
print(bool(made), found.digest, len(found.unreadable))
"""


def test_of_two_processes_one_makes_the_index(root: Path, tmp_path: Path) -> None:
    image(root, 3).write_bytes(b"no image")
    settle(root)
    env = {**environment(), indexing.VARIABLE: str(tmp_path / "own")}
    both = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(root)], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    made, digests, counts = zip(*(process.communicate()[0].split() for process in both), strict=True)
    assert sorted(made) == ["False", "True"] and len(set(digests)) == 1 and set(counts) == {"1"}
    assert (root / "carft-index" / "dtd.arrow").is_file()


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    one = BUILT_IN.data_sets("vlcs")[0]
    one.fixture(tmp_path)
    first = next(iter(one.index(tmp_path).values())).paths[0]
    shutil.copy(first, os.fsencode(first.parent) + b"/\xff.jpg")
    with pytest.raises(UserError, match="not UTF-8"):
        indexed(one, tmp_path)


def test_a_file_that_vanishes_while_it_is_listed_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, whole = image(root, 2), DataSet.index

    def index(one: DataSet, root: Path) -> dict[str, Index]:
        found = whole(one, root)
        gone.unlink()
        return found

    monkeypatch.setattr(DataSet, "index", index)
    with pytest.raises(UserError, match="is incomplete: there is no") as caught:
        indexed(DTD, root)
    assert gone.name in str(caught.value)
