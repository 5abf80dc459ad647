"""`data ls | check | fetch | fixture` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carft.data.catalog import DATA_SETS
from tests.support.helpers import run_cli


def test_ls_tells_of_every_set() -> None:
    rows = {row["data set"]: row for row in json.loads(run_cli("data", "ls", "--json").stdout)}
    assert list(rows) == list(DATA_SETS)
    assert rows["pets"]["images"] == {"train": 3680, "test": 3669}
    assert all(row["licence"] and row["source"] and row["place"] for row in rows.values())
    assert "oxford-iiit-pet" in run_cli("data", "ls").stdout


def test_ls_says_which_are_there(tmp_path: Path) -> None:
    DATA_SETS["pets"].fixture(tmp_path)
    (tmp_path / DATA_SETS["dtd"].folder).mkdir()
    rows = {
        row["data set"]: row["there"] for row in json.loads(run_cli("data", "ls", "--data", tmp_path, "--json").stdout)
    }
    assert (rows["pets"], rows["dtd"], rows["food101"]) == ("fixture", "half here", "-")
    rows = json.loads(run_cli("data", "ls", "imagenet", "--data", tmp_path, "--json").stdout)
    assert {row["data set"] for row in rows} >= {"imagenet"} and all(row["there"] == "-" for row in rows)


def test_a_fixture_is_drawn_and_checked(tmp_path: Path) -> None:
    root = tmp_path / "data"
    drawn = run_cli("data", "fixture", "pets", "--data", root)
    assert drawn.returncode == 0 and "no real image" in drawn.stdout
    checked = run_cli("data", "check", "pets", "--data", root)
    assert checked.returncode == 0 and "fixture" in checked.stdout


def test_check_exits_with_1_when_something_differs(tmp_path: Path) -> None:
    DATA_SETS["pets"].fixture(tmp_path)
    (tmp_path / "oxford-iiit-pet" / "images" / "pug_1.jpg").write_bytes(b"torn")
    done = run_cli("data", "check", "pets", "--data", tmp_path, "--json")
    (found,) = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["status"] == "failed" and list(found["unreadable"]) == ["images/pug_1.jpg"]
    done = run_cli("data", "check", "pets", "--data", tmp_path)
    assert done.returncode == 1 and "images/pug_1.jpg" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "pets"), "oxford-iiit-pet"),
        (("check", "pet"), "pets"),
        (("check", "icons/transport"), "needs no data set"),
        (("fetch", "cars"), "cannot be downloaded"),
        (("fixture", "nonsense"), "nonsense"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run_cli("data", *arguments, "--data", tmp_path, "--json")
    assert done.returncode == 2 and done.stdout == "" and says in " ".join(done.stderr.split())


def test_a_fixture_is_not_drawn_over_files(tmp_path: Path) -> None:
    (tmp_path / "oxford-iiit-pet").mkdir()
    (tmp_path / "oxford-iiit-pet" / "images.tar.gz").write_bytes(b"real")
    done = run_cli("data", "fixture", "pets", "--data", tmp_path)
    assert done.returncode == 2 and "not a fixture" in " ".join(done.stderr.split())


@pytest.mark.parametrize("verb", ["fixture", "fetch"])
def test_a_folder_that_cannot_be_written_is_refused(verb: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    done = run_cli("data", verb, "pets", "--data", tmp_path / "file")
    assert done.returncode == 2 and "file" in done.stderr
