"""Folders hold plain files, and locks are held on files that are open for writing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from carft.core.errors import UserError
from carft.core.files import files_below, locked, try_lock


def test_the_files_below_a_folder_are_plain_and_not_temporary(tmp_path: Path) -> None:
    for name in ("a/one.json", "a/b/two.parquet", "a/.hidden", "a/b/three.json.1-2.part", "c/four", "d/not-asked"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
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
