"""A family of this package is one folder, as examples/shapes shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import carft.data
from carft.catalog import catalog
from carft.catalog.families import built_in_families
from carft.data.family import Family, Sizes
from tests.support.folder import Folder
from tests.support.packages import write_shapes_family


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    """The family of the page, in the catalog."""
    write_shapes_family(tmp_path)
    monkeypatch.setattr(carft.data, "__path__", [*carft.data.__path__, str(tmp_path)])
    family = import_module("carft.data.shapes.family").FAMILY
    monkeypatch.setattr(catalog, "FAMILIES", built_in_families())
    yield family
    for name in [name for name in sys.modules if name.startswith("carft.data.shapes")]:
        del sys.modules[name]


def test_a_folder_is_all_that_a_family_needs(shapes: Family) -> None:
    tasks = catalog.Catalog()
    for task in shapes.cards:
        opened, sealed = tasks.open(task, Folder()), tasks.unseal(task, Folder())
        drawn = Sizes(len(opened.train), len(opened.val), sum(map(len, sealed.sets().values())))
        assert tasks.sizes(task, Folder()) == drawn == Sizes(train=64, val=32, sealed=64)
        name = sealed.suites["small"].names[0]
        assert shapes.picture(tasks.card(task), "ood/small", name).shape == (32, 32, 3)
    (pool,) = [pool for pool in tasks.pools(shapes.cards) if pool.name == "shapes"]
    assert pool.tasks == ("shapes/round", "shapes/tilted")
