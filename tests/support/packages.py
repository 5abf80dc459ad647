"""The package of docs/extending.md, installed as pip would, for commands in processes of their own."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.helpers import ROOT

PAGE = ROOT / "docs" / "extending.md"


def install_shapes(site: Path) -> None:
    """Install the package ``shapes-tasks`` of the page into a folder for PYTHONPATH."""
    blocks = re.findall(r"```\w+\n# ([\w./]+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    files = dict(blocks)
    entry_points = files.pop("pyproject.toml").partition('[project.entry-points."carft.data"]\n')[2].replace('"', "")
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
        (site / name).with_name("__init__.py").touch()
    info = site / "shapes_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shapes-tasks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[carft.data]\n{entry_points}")
