"""Machines that ran the cells, which a reader of the report is told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from carft.core.files import write_json
from carft.store.records import Store
from reports.build import sources_of
from reports.evidence.origins import UNLIKE_MACHINES
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


def test_a_contrast_whose_sides_ran_on_other_machines_is_marked(store: Store) -> None:
    plant(store, [TASK], GOOD)
    change_provenance(store, "ft", lambda made: made.update(packages={"torch": "9.9"}))
    sources = sources_of(store)
    assert UNLIKE_MACHINES in cautions(sources)["C3"]
    assert sources.table("differences")["caution"].str.contains(UNLIKE_MACHINES).any()
    for method in ("zeroshot", "car_ft"):
        change_provenance(store, method, lambda made: made.update(packages={"torch": "9.9"}))
    assert UNLIKE_MACHINES not in str(cautions(sources_of(store)))


def test_a_cell_on_another_processor_is_marked_beside_one_method_alone(store: Store) -> None:
    plant(store, [TASK], GOOD)
    change_provenance(store, "ft", lambda made: made.update(cpu={"model": "another"}))
    tables = sources_of(store)
    assert UNLIKE_MACHINES in cautions(tables)["C3"]
    tasks = tables.table("tasks").set_index("method")
    assert "caution" not in tasks or not tasks.loc["ft", "caution"]
