"""Every data set of the catalog in its real layout: its fixture is whole, and says that it is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from carft.data.catalog import DATA_SETS, DOWNSTREAM
from carft.data.checking import check
from carft.spec.catalog import BUILT_IN

#: one task that opens every data set of the catalog
TASKS = (
    *DOWNSTREAM,
    "imagenet",
    "pacs/sketch",
    "vlcs/sun09",
    "officehome/art",
    "terraincognita/l38",
    "domainnet/sketch",
)

pytestmark = [pytest.mark.slow, pytest.mark.full]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that holds a fixture of every data set."""
    root = tmp_path_factory.mktemp("data")
    for data_set in DATA_SETS.values():
        data_set.fixture(root)
    return root


def test_every_task_opens_sets_of_the_catalog() -> None:
    assert {name for task in TASKS for name in BUILT_IN.card(task).data_sets} == set(DATA_SETS)


@pytest.mark.parametrize("name", sorted(DATA_SETS))
def test_a_fixture_is_whole_and_says_that_it_is_one(root: Path, name: str) -> None:
    found = check(DATA_SETS[name], root)
    assert found.status == "fixture", found.problems
