"""The digest of the code: what changes it, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from carft.core.source import code_digest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few files of each package."""
    root = tmp_path_factory.mktemp("code")
    for name in (
        "carft/methods/ft.py",
        "sweeps/faults/policy.py",
        "carft_cli/cell.py",
        "carft/data/icons/classes.json",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    return root


def edited(copied: Path, to: Path, name: str, was: str, becomes: str) -> str:
    shutil.copytree(copied, to)
    text = (to / name).read_text(encoding="utf-8")
    assert was in text
    (to / name).write_text(text.replace(was, becomes, 1), encoding="utf-8")
    return code_digest(to)


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        ("sweeps/faults/policy.py", "SMALL = 32", "SMALL = 33"),
        ("carft_cli/cell.py", "min=0", "min=1"),
        ("carft/methods/ft.py", "return", "return None and"),
        ("carft/data/icons/classes.json", '"', "'"),
    ],
)
def test_other_code_or_data_have_another_digest(
    copied: Path, tmp_path: Path, name: str, was: str, becomes: str
) -> None:
    assert edited(copied, tmp_path / "other", name, was, becomes) != code_digest(copied)


def test_comments_docstrings_and_line_breaks_change_no_digest(copied: Path, tmp_path: Path) -> None:
    was = '"""What a sweep does about a failure'
    more = '"""Another text.\n\nWhat a sweep does about a failure'
    assert edited(copied, tmp_path / "text", "sweeps/faults/policy.py", was, more) == code_digest(copied)
    comment = "# why\n\n\nSMALL = (\n    32  # images\n)"
    assert edited(copied, tmp_path / "note", "sweeps/faults/policy.py", "SMALL = 32", comment) == code_digest(copied)
