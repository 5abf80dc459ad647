"""The digest of the code that computes cells."""

from __future__ import annotations

import shutil
from pathlib import Path

from carft.core.source import code_digest

ROOT = Path(__file__).parents[3]


def test_what_computes_cells_changes_the_digest_and_nothing_else(tmp_path: Path) -> None:
    copied = tmp_path / "carft"
    shutil.copytree(ROOT / "carft", copied, ignore=shutil.ignore_patterns("__pycache__"))
    assert code_digest(copied) == code_digest()
    for name in ("docs/new.md", "tests/test_new.py", "reports/new.py", "carft/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("new")
    assert code_digest.__wrapped__(copied) == code_digest()
    for name in ("methods/ft.py", "config/methods.yaml"):
        before = code_digest.__wrapped__(copied)
        with (copied / name).open("a") as file:
            file.write("\n# new\n")
        assert code_digest.__wrapped__(copied) != before
