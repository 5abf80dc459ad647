"""Machines that ran the cells, which a reader of the report is told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from carft.core.files import write_json
from carft.store.records import Store
from reports.build import sources_of
from reports.tables.table import Sources
from tests.support.planted import GOOD, plant

pytestmark = pytest.mark.usefixtures("few_figures")

TASK = "icons-3/all"


def change_provenance(store: Store, method: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the records of a method as another machine would have written them."""
    for record in store.records():
        if record.cell.method == method:
            path = store.folder(record.id) / "record.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            change(content["provenance"])
            write_json(path, content)


def cautions(sources: Sources) -> dict[str, str]:
    return {verdict.claim: "; ".join(verdict.cautions) for verdict in sources.verdicts if not verdict.missing}


OTHER_MACHINES: dict[str, Callable[[dict[str, Any]], None]] = {
    "versions of torch": lambda made: made.update(packages={"torch": "9.9"}),
    "CPU models": lambda made: made.update(cpu={"model": "another", "instructions": "AVX2"}),
    "settings of processor libraries": lambda made: made.update(environment={"MKL_CBWR": "COMPATIBLE"}),
}


@pytest.mark.parametrize("fact", OTHER_MACHINES)
def test_a_contrast_whose_sides_ran_on_other_machines_is_marked(store: Store, fact: str) -> None:
    plant(store, [TASK], GOOD)
    assert not any("different" in words for words in cautions(sources_of(store)).values())
    change_provenance(store, "ft", OTHER_MACHINES[fact])
    sources = sources_of(store)
    verdict = next(v for v in sources.verdicts if v.claim == "C3")
    words = f"methods ran on different {fact}"
    assert words in verdict.cautions
    rows = sources.table("differences")
    assert rows["caution"].str.contains(words).any()


def test_machines_that_both_sides_share_are_not_marked(store: Store) -> None:
    plant(store, [TASK], GOOD)
    for method in ("zeroshot", "ft", "car_ft"):
        change_provenance(store, method, OTHER_MACHINES["CPU models"])
    assert not any("different" in words for words in cautions(sources_of(store)).values())
