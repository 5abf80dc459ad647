"""The installation of a reader, without the packages that train, which are named. What works in it: .ci/wheel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from carft_cli.app import TRAINING
from tests.support.helpers import ROOT, environment

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


@pytest.mark.parametrize(
    "words", [("train", "--task", "icons-3/mix-7", "--method", "ft", "--lr", "1e-3"), ("sweep", "miniature")]
)
def test_a_command_that_needs_more_says_which_line_to_type(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = reader((*words, "--results", tmp_path / "results"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "pip install 'carft[train]'" in done.stderr
    assert not (tmp_path / "results").exists()
