"""Packages that are installed as pip would, in a folder on the path: that of docs/extending.md, and others.

Also the tasks of that page as a family of carft.data.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import invalidate_caches
from pathlib import Path
from unittest.mock import patch

from carft.config.plugins import installed_method
from carft.core.source import installed
from carft.data.packages import installed_package
from tests.support.helpers import ROOT

#: what is looked up once a process
CACHES = (installed, installed_method, installed_package)
PAGE = ROOT / "docs" / "extending.md"


def install_shapes(site: Path) -> None:
    """Install the package ``shapes-tasks`` of the page into a folder for PYTHONPATH."""
    files = files_of_package()
    entry_points = files.pop("pyproject.toml").partition('[project.entry-points."carft.data"]\n')[2].replace('"', "")
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
        (site / name).with_name("__init__.py").touch()
    install_entry_points(site, "shapes-tasks", f"[carft.data]\n{entry_points}")


def write_shapes_family(data: Path) -> None:
    """Write the folder ``shapes`` of the page into a folder that stands for carft/data."""
    (data / "shapes").mkdir()
    for name in ("cards", "loader"):
        text = files_of_package()[f"shapes_tasks/{name}.py"]
        moved = text.replace('"shapes_tasks.loader"', '"carft.data.shapes.loader"')
        (data / "shapes" / f"{name}.py").write_text(moved, encoding="utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (family,) = [block for block in blocks if "(Family)" in block]
    (data / "shapes" / "family.py").write_text(family, encoding="utf-8")
    (data / "shapes" / "__init__.py").write_text('"""Tasks on drawn shapes."""\n', encoding="utf-8")


def files_of_package() -> dict[str, str]:
    """Path -> text of each file of the package on the page, without the line that names the path."""
    return dict(re.findall(r"```\w+\n# ([\w./]+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def install_entry_points(site: Path, name: str, entry_points: str) -> None:
    """Write what pip keeps of an installed package into a folder for PYTHONPATH."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@contextmanager
def on_path(*sites: Path) -> Iterator[None]:
    """Within the block packages of these folders are installed for this process, and no longer after it."""
    before = set(sys.modules)
    with patch.object(sys, "path", [*map(str, sites), *sys.path]):
        _forget()
        yield
    _forget()
    for name in set(sys.modules) - before:
        place = getattr(sys.modules[name], "__file__", None) or ""
        if any(place.startswith(f"{site}/") for site in sites):
            del sys.modules[name]


def _forget() -> None:
    invalidate_caches()
    for cache in CACHES:
        cache.cache_clear()
