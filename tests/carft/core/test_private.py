"""Folders of this machine in text."""

from __future__ import annotations

from pathlib import Path

import pytest

from carft.core.private import absolute_paths, short_paths


def test_roots_get_short_names_the_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    text = "'/home/jane/results/cells/a', /home/jane/x.py:3, /data/pets/b.png, /home/jane"
    expected = "'$RESULTS/cells/a', ~/x.py:3, $DATA/pets/b.png, ~"
    assert short_paths(text, "/home/jane/results", "/data") == expected
    assert short_paths(expected, "/home/jane/results", "/data") == expected


def test_other_folders_with_such_a_beginning_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    for text in ("/home/janet/x", "/home/jane-2/x", "/mnt/home/jane/x"):
        assert short_paths(text) == text
    monkeypatch.setenv("HOME", "/")
    assert short_paths("/usr/lib", "", "/") == "/usr/lib"


def test_a_folder_is_found_by_its_relative_name_and_through_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    monkeypatch.chdir(tmp_path)
    assert short_paths(f"{tmp_path}/disk/a {tmp_path}/link/b", "link") == "$RESULTS/a $RESULTS/b"


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('{"pretrained": "/home/jane/w.pt#sha256:0"}', {"/home/jane/w.pt"}),
        ('"local-dir:/srv/models/one", "folder:/srv/pets"', {"/srv/models/one", "/srv/pets"}),
        ('"https://example.org/a/b", "icons-3/all", "ood/x/top1", "~/a/b", "$DATA/a/b", "and/or", "1 / 2"', set()),
    ],
)
def test_absolute_paths_are_found(text: str, paths: set[str]) -> None:
    assert absolute_paths(text) == paths
