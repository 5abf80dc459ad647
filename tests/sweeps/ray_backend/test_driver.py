"""What a sweep leaves outside its results folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from carft.store.records import Store
from sweeps.ray_backend.driver import tune_scratch


def test_scratch_of_a_killed_sweep_is_removed_by_the_next_one_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, store, other = tmp_path / "scratch", Store(tmp_path / "results"), Store(tmp_path / "other")
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with tune_scratch(store) as own:
        left = Path(f"{own}-killed")
        left.mkdir()
        left.with_name(f"{left.name}-link").symlink_to(tmp_path)
    with tune_scratch(other) as of_the_other:
        assert left.is_dir() and Path(of_the_other).is_dir()
        with tune_scratch(store) as again:
            assert not left.exists() and Path(again).is_dir() and Path(of_the_other).is_dir()
    assert tmp_path.is_dir() and [path.is_symlink() for path in place.iterdir()] == [True]
