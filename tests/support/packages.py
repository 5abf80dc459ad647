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
    install_entry_points(site, "shapes-tasks", f"[carft.data]\n{entry_points}")


def install_entry_points(site: Path, name: str, entry_points: str) -> None:
    """Write what pip keeps of an installed package into a folder for PYTHONPATH."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
