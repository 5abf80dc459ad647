"""What `data check` finds: attested, unknown, fixture or failed, and why."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.data.checking import Attestation, check
from carft.data.sets import MARKER, DataSet
from tests.support.helpers import run_cli

LIST = "dtd/labels/test1.txt"
FIXTURE_COUNTS = {"train": 141, "val": 47, "test": 47}
#: the set that the fixture would be, were it real
SMALL = replace(BUILT_IN.data_sets("dtd")[0], counts=FIXTURE_COUNTS)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DTD's fixture without its mark. Do not change it."""
    root = tmp_path_factory.mktemp("original")
    BUILT_IN.data_sets("dtd")[0].fixture(root)
    (root / "dtd" / MARKER).unlink()
    return root


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(original / "dtd", tmp_path / "dtd")
    return tmp_path


def with_digest(original: Path, name: str) -> DataSet:
    digest = getattr(hashlib, name)((original / "dtd" / LIST).read_bytes()).hexdigest()
    return replace(SMALL, digests={LIST: digest})


def only_problem(found: Attestation) -> str:
    assert found.status == "failed"
    (problem,) = found.problems
    assert found.digests()["attested"] == f"no: {problem}"
    return problem


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_with_an_agreeing_digest_a_set_is_attested(name: str, original: Path) -> None:
    found = check(with_digest(original, name), original)
    assert (found.status, found.problems) == ("attested", ())
    assert found.digests() == {"attested": "yes", "dtd": found.digest}


def test_with_a_listing_on_record_names_and_sizes_of_all_images_are_compared(root: Path) -> None:
    listed = replace(SMALL, listing=check(SMALL, root).digest, listing_from="somewhere")
    assert check(listed, root).status == "attested"
    image = next((root / "dtd").rglob("*.jpg"))
    image.write_bytes(image.read_bytes() + b" ")
    assert "are not those on record, which are of somewhere" in only_problem(check(listed, root))


def changed(change: Callable[[list[str]], list[str]]) -> Callable[[Path], DataSet]:
    """Change the lines of the list of test images."""

    def to(root: Path) -> DataSet:
        data_set = with_digest(root, "sha256") if change is reordered else SMALL
        path = root / "dtd" / LIST
        path.write_text("".join(change(path.read_text().splitlines(True))))
        return data_set

    return to


def reordered(lines: list[str]) -> list[str]:
    return lines[::-1]


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        (changed(reordered), (f"{LIST} is not the file of the real set: its digest differs.",)),
        (
            lambda root: replace(SMALL, counts={**FIXTURE_COUNTS, "test": 1880}),
            ("test has 47 images, the real set 1,880.",),
        ),
        (
            changed(lambda lines: [line for line in lines if not line.startswith("woven")]),
            ("Classes without an image in test: woven.", "test has 46 images, the real set 47."),
        ),
    ],
)
def test_a_set_that_is_not_the_real_one_fails(
    given: Callable[[Path], DataSet], problems: tuple[str, ...], root: Path
) -> None:
    found = check(given(root), root)
    assert (found.status, found.problems) == ("failed", problems)
    assert found.digests()["attested"] == f"no: {' '.join(problems)}"


def test_images_that_cannot_be_read_are_all_named(root: Path) -> None:
    folders = (root / "dtd" / "dtd" / "images" / word for word in ("grid", "lined", "veined"))
    names = [min(folder.iterdir()).relative_to(root / "dtd").as_posix() for folder in folders]
    for name in names:
        path = root / "dtd" / name
        path.write_bytes(path.read_bytes()[:200])
    found = check(SMALL, root)
    assert sorted(found.unreadable) == names
    assert all(name in only_problem(found) for name in names)


def test_ls_says_where_data_sets_go() -> None:
    rows = {row["data set"]: row for row in json.loads(run_cli("ls", "data", "imagenet", "--json").stdout)}
    assert rows["imagenet"]["classes"] == 1000 and not rows["imagenet"]["fetch"] and rows["imagenet"]["source"]
    assert "pets" in run_cli("ls", "data").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "pets"), "oxford-iiit-pet"),
        (("check", "pet"), "pets"),
        (("check", "icons-3/mix-7"), "names no data set"),
        (("check", "cars", "--fetch"), "cannot be downloaded"),
        (("check", "nonsense", "--fake"), "nonsense"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run_cli("data", *arguments, "--data", tmp_path, "--json")
    assert done.returncode == 2 and done.stdout == "" and says in " ".join(done.stderr.split())


def test_a_fixture_is_not_drawn_over_files(tmp_path: Path) -> None:
    (tmp_path / "oxford-iiit-pet").mkdir()
    (tmp_path / "oxford-iiit-pet" / "images.tar.gz").write_bytes(b"real")
    done = run_cli("data", "check", "pets", "--fake", "--data", tmp_path)
    assert done.returncode == 2 and "not a fixture" in " ".join(done.stderr.split())
