"""What a sweep leaves outside its results folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from carft.store.records import Store
from sweeps.ray_backend.driver import tune_scratch
from tests.support.helpers import environment

#: a sweep that is killed while Tune writes
KILLED = """
import os, signal, sys
from pathlib import Path
from carft.store.records import Store
from sweeps.ray_backend.driver import tune_scratch
with tune_scratch(Store(sys.argv[1])) as scratch:
    Path(scratch, "experiment").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_sweep(results: Path, scratch: Path) -> None:
    env = {**environment(), "TMPDIR": str(scratch)}
    done = subprocess.run([sys.executable, "-c", KILLED, results], env=env, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_scratch_of_a_killed_sweep_is_removed_by_the_next_one_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, results = tmp_path / "scratch", tmp_path / "results"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    for folder in (results, tmp_path / "other"):
        killed_sweep(folder, place)
    assert len(list(place.iterdir())) == 2
    with tune_scratch(Store(tmp_path / "other")) as of_the_other:
        assert len(list(place.iterdir())) == 2
        with tune_scratch(Store(results)) as own:
            assert set(place.iterdir()) == {Path(own), Path(of_the_other)}
    assert list(place.iterdir()) == []


def test_scratch_of_a_sweep_that_runs_and_links_of_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, store, precious = tmp_path / "scratch", Store(tmp_path / "results"), tmp_path / "precious"
    place.mkdir()
    precious.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    killed_sweep(store.root, place)
    (left,) = place.iterdir()
    (precious / "file").touch()
    left.with_name(f"{left.name}x").symlink_to(precious)
    with tune_scratch(store) as own, tune_scratch(store):
        assert Path(own).is_dir() and f"-{os.getpid()}-" in own
    assert (precious / "file").exists()
