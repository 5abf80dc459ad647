"""Files are on disk before what tells of them, and locks are held on files that are open for writing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from carft.core.errors import UserError
from carft.core.files import files_below, locked, make_folders, new_folder, try_lock, write_text
from carft.store.records import Store
from tests.support.helpers import LR, made_up_predictions, made_up_record, quick_cell


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files and folders that are flushed to disk, and of files that are renamed, in their order."""
    done: list[str] = []
    rename = Path.replace

    def flush(descriptor: int) -> None:
        done.append(f"flush {Path(f'/proc/self/fd/{descriptor}').readlink().name.partition('.')[0]}")

    def replace(path: Path, target: Path) -> Path:
        done.append(f"rename {target.name.partition('.')[0]}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", replace)
    return done


def test_a_file_and_its_name_are_flushed(tmp_path: Path, flushed: list[str]) -> None:
    make_folders(tmp_path / "a" / "b")
    assert flushed == [f"flush {tmp_path.name}", "flush a"]
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert flushed[2:] == ["flush c", "rename c", "flush b"]
    make_folders(tmp_path / "a" / "b")
    with new_folder(tmp_path / "a" / "d"):
        pass
    assert flushed[5:] == ["flush a"]


def test_the_journal_is_on_disk_before_the_record_it_names(tmp_path: Path, flushed: list[str]) -> None:
    """After a loss of power a finished cell is one that the journal names."""
    cell = quick_cell("ft", lr=LR)
    store = Store(tmp_path / "results")
    store.write(made_up_record(cell), [], made_up_predictions())
    chain = next((tmp_path / "results" / "journal").iterdir()).stem
    record, folder = flushed.index("rename record"), f"flush {cell.id}"
    for before in ("flush cells", "flush journal", f"flush {chain}", "rename spec", "rename predictions"):
        assert before in flushed[:record], before
    assert flushed.index(f"flush {chain}") < flushed.index("flush journal", flushed.index(f"flush {chain}"))
    assert flushed[record - 1 : record + 2] == ["flush record", "rename record", folder]


def test_the_files_below_a_folder_are_plain_and_not_temporary(tmp_path: Path) -> None:
    for name in ("a/one.json", "a/b/two.parquet", "a/.hidden", "a/b/three.json.1-2.part", "c/four", "d/not-asked"):
        make_folders((tmp_path / name).parent)
        (tmp_path / name).touch()
    assert files_below(tmp_path, ("a", "c", "gone")) == ["a/b/two.parquet", "a/one.json", "c/four"]
    assert files_below(tmp_path / "a", ("",)) == ["b/two.parquet", "one.json"]
    (tmp_path / "c" / "link").symlink_to(tmp_path / "d", target_is_directory=True)
    with pytest.raises(UserError, match="is a link"):
        files_below(tmp_path, ("c",))
    os.mkfifo(tmp_path / "d" / "pipe")
    with pytest.raises(UserError, match="is no plain file"):
        files_below(tmp_path, ("d",))


def flags_of(path: Path) -> list[int]:
    """Access modes of the open files of this process at a path."""
    modes = []
    for entry in Path("/proc/self/fd").iterdir():
        if entry.is_symlink() and os.path.realpath(entry) == str(path):
            info = Path(f"/proc/self/fdinfo/{entry.name}").read_text(encoding="utf-8")
            flags = next(line for line in info.splitlines() if line.startswith("flags"))
            modes.append(int(flags.split()[1], 8) & os.O_ACCMODE)
    return modes


def test_a_lock_is_held_on_a_file_that_is_open_for_writing(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with locked(path):
        assert flags_of(path) == [os.O_RDWR]
        with path.open("rb+") as other:
            assert not try_lock(other.fileno())
