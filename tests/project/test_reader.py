"""The installation of a reader, without the packages that train, which are named. What works in it: .ci/wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from carft_cli.app import TRAINING
from tests.support.helpers import ROOT, environment

#: a console command in an interpreter that has none of these packages
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from carft_cli.app import main
main()
"""


def test_a_command_that_needs_more_says_which_line_to_type(tmp_path: Path) -> None:
    script = WITHOUT.format(packages=sorted(TRAINING))
    command = [sys.executable, "-c", script, "sweep", "miniature", "--results", str(tmp_path / "results")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "pip install 'carft[train]'" in done.stderr
    assert not (tmp_path / "results").exists()
