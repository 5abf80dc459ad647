"""The installation of a reader: what reads records works without the packages that train, which are named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from carft.store.archive import pack
from carft.store.records import Store
from carft_cli.app import TRAINING
from tests.support.helpers import ROOT, environment
from tests.support.planted import QUICK, plant

#: console commands, one after the other, in an interpreter that has none of these packages
WITHOUT = """
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from carft_cli.app import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def reader(*commands: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Commands up to the first that fails, from the repository's root, without the packages of the extra."""
    code = WITHOUT.format(packages=sorted(TRAINING))
    command = [sys.executable, "-c", code, json.dumps(commands, default=str)]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
@pytest.mark.full
def test_an_archive_is_imported_reported_and_verified(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plant(store, ["icons-3/mix-7"], QUICK, curves=True)
    pack(store, tmp_path / "small.zip", compact=True)
    imported, page = tmp_path / "imported", tmp_path / "report"
    done = reader(
        ("results", "import", tmp_path / "small.zip", "--to", imported),
        ("report", "--results", imported, "--out", page, "--no-images"),
        ("report", "verify", "--results", imported, "--out", page),
        ("report", "why", "C1", "--results", imported),
        ("ls", "cells", "--results", imported),
        ("status", "--results", imported),
    )
    assert done.returncode == 0, done.stderr
    assert "Every table holds" in done.stdout and "icons-3/mix-7" in done.stdout
    assert (page / "index.html").is_file()


@pytest.mark.parametrize(
    "words", [("train", "--task", "icons-3/mix-7", "--method", "ft", "--lr", "1e-3"), ("sweep", "miniature")]
)
def test_a_command_that_needs_more_says_which_line_to_type(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = reader((*words, "--results", tmp_path / "results"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "pip install 'carft[train]'" in done.stderr
    assert not (tmp_path / "results").exists()
