"""`data ls | check | fetch | fixture` as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from carft.data.catalog import DATA_SETS
from carft.spec.catalog import BUILT_IN
from carft_cli import app, console
from tests.support.helpers import run_cli

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process: exit code, stdout, stderr, each of the latter on one line."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["cli.py", *map(str, arguments)])
        monkeypatch.setattr(console.out, "width", 160)
        with pytest.raises(SystemExit) as done:
            app.main()
        captured = capsys.readouterr()
        return int(done.value.code or 0), captured.out, " ".join(captured.err.split())

    return run


def test_ls_tells_of_every_set(call: Call) -> None:
    rows = {row["data set"]: row for row in json.loads(call("data", "ls", "--json")[1])}
    assert list(rows) == list(DATA_SETS)
    assert rows["pets"]["images"] == {"train": 3680, "test": 3669}
    assert all(row["licence"] and row["source"] and row["place"] for row in rows.values())
    assert "oxford-iiit-pet" in call("data", "ls")[1]


def test_ls_says_which_are_there(call: Call, tmp_path: Path) -> None:
    BUILT_IN.data_sets("pets")[0].fixture(tmp_path)
    (tmp_path / BUILT_IN.data_sets("dtd")[0].folder).mkdir()
    rows = {row["data set"]: row["there"] for row in json.loads(call("data", "ls", "--data", tmp_path, "--json")[1])}
    assert (rows["pets"], rows["dtd"], rows["food101"]) == ("fixture", "half here", "-")
    rows = json.loads(call("data", "ls", "imagenet", "--data", tmp_path, "--json")[1])
    assert {row["data set"] for row in rows} >= {"imagenet"} and all(row["there"] == "-" for row in rows)


def test_fixture_check_and_train_by_hand(tmp_path: Path) -> None:
    """In processes of their own, as in a shell."""
    root = tmp_path / "data"
    drawn = run_cli("data", "fixture", "pets", "--data", root)
    assert drawn.returncode == 0 and "no real image" in drawn.stdout
    checked = run_cli("data", "check", "pets", "--data", root)
    assert checked.returncode == 0 and "fixture" in checked.stdout
    arguments = ("--task", "pets", "--method", "ft", "--lr", 1e-4, "--epochs", 1, "--data", root)
    model = ("--model", "icons-resnet", "--pretrained", "icons", "--results", tmp_path / "results")
    trained = run_cli("train", *arguments, *model, "--unseal", "--json")
    assert trained.returncode == 0, trained.stderr
    assert "test/mean_per_class" in json.loads(trained.stdout)["metrics"]


def test_check_exits_with_1_when_something_differs(tmp_path: Path, call: Call) -> None:
    BUILT_IN.data_sets("pets")[0].fixture(tmp_path)
    (tmp_path / "oxford-iiit-pet" / "images" / "pug_1.jpg").write_bytes(b"torn")
    code, out, _ = call("data", "check", "pets", "--data", tmp_path, "--json")
    (found,) = json.loads(out)
    assert code == 1
    assert found["status"] == "failed" and list(found["unreadable"]) == ["images/pug_1.jpg"]
    code, out, _ = call("data", "check", "pets", "--data", tmp_path)
    assert code == 1 and "images/pug_1.jpg" in out


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
def test_what_cannot_be_done_is_refused(arguments: tuple[str, ...], says: str, tmp_path: Path, call: Call) -> None:
    code, out, err = call("data", *arguments, "--data", tmp_path, "--json")
    assert code == 2 and out == ""
    assert says in err


def test_a_fixture_is_not_drawn_over_files(tmp_path: Path, call: Call) -> None:
    (tmp_path / "oxford-iiit-pet").mkdir()
    (tmp_path / "oxford-iiit-pet" / "images.tar.gz").write_bytes(b"real")
    code, _, err = call("data", "fixture", "pets", "--data", tmp_path)
    assert code == 2 and "not a fixture" in err


@pytest.mark.parametrize("verb", ["fixture", "fetch"])
def test_a_folder_that_cannot_be_written_is_refused(verb: str, tmp_path: Path, call: Call) -> None:
    (tmp_path / "file").write_text("here")
    code, _, err = call("data", verb, "pets", "--data", tmp_path / "file")
    assert code == 2 and "file" in err
