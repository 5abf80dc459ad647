"""Packages that are installed as pip would, in a folder on the path, and the family of examples/shapes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import invalidate_caches
from pathlib import Path
from unittest.mock import patch

from carft.catalog.families import installed_family
from carft.catalog.plugins import installed_method
from carft.core.source import installed
from tests.support.helpers import ROOT

#: what is looked up once a process
CACHES = (installed, installed_method, installed_family)
SHAPES = ROOT / "examples" / "shapes" / "family.py"


def install_shapes(site: Path) -> None:
    """Install the family of the example as the package ``shapes-tasks``, into a folder for PYTHONPATH."""
    site.mkdir(parents=True)
    (site / "shapes_tasks.py").write_text(SHAPES.read_text(encoding="utf-8"), encoding="utf-8")
    install_entry_points(site, "shapes-tasks", "[carft.data]\nshapes = shapes_tasks:FAMILY\n")


def write_shapes_family(data: Path) -> None:
    """Write the folder ``shapes`` of the example into a folder that stands for carft/data."""
    (data / "shapes").mkdir()
    (data / "shapes" / "family.py").write_text(SHAPES.read_text(encoding="utf-8"), encoding="utf-8")
    (data / "shapes" / "__init__.py").touch()


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
