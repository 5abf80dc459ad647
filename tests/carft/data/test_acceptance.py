"""Data sets that carft_cli/test_matrix.py leaves out, from their real layout to a report, in one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carft.config.catalog import BUILT_IN
from carft.data.catalog import DATA_SETS, DOWNSTREAM
from carft.store.records import Store
from carft.training.execution import Execution
from reports.build import build_report
from sweeps.ray_backend.jobs import payload, run_payload
from sweeps.recipes import load_recipe
from sweeps.search.protocol import Protocol

#: tasks of the data sets that no sweep of the matrix opens
TASKS = ("officehome/art", "terraincognita/l38", "domainnet/sketch")
IN_THE_MATRIX = (*DOWNSTREAM, "imagenet", "pacs/sketch", "vlcs/sun09")

pytestmark = [pytest.mark.slow, pytest.mark.full]


def swept(store: Store, tasks: list[str], data: Path | None, **changes) -> Protocol:
    """What a sweep does, with its jobs run here one after another."""
    recipe = (
        load_recipe("downstream").smoked().changed(tasks=tasks, model="icons-resnet", pretrained="icons", **changes)
    )
    protocol = Protocol(recipe, store)
    placement = Execution(data=None if data is None else str(data))
    while (job := protocol.next_job()) is not None:
        result = run_payload(payload(job, str(store.root), placement, catalog=BUILT_IN))
        assert not result["failure"], result
        protocol.end(job)
        protocol.write_studies()
    assert protocol.finished()
    return protocol


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root that holds a fixture of each data set."""
    for task in TASKS:
        for data_set in BUILT_IN.data_sets(task):
            data_set.fixture(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def two_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2 of the 80 context templates: encoding text is not what is tested here."""
    for task in TASKS:
        family, card = BUILT_IN.opener(task)
        few = {"standard": card.bank("standard")[:2]}
        monkeypatch.setitem(family.cards, task, replace(card, templates=card.templates[:2], banks=few))


def test_every_task_opens_sets_of_the_catalog() -> None:
    assert {name for task in (*TASKS, *IN_THE_MATRIX) for name in BUILT_IN.card(task).data_sets} == set(DATA_SETS)


def test_from_the_layout_to_the_report(root: Path, tmp_path: Path, two_templates: None) -> None:
    store = Store(tmp_path / "results")
    protocol = swept(store, list(TASKS), root, methods=["zeroshot", "ft", "car_ft"], seeds=2)
    for study in protocol.studies:
        (cell, *_) = protocol.progress(study).confirm_cells
        assert store.evaluated(cell.id) == set(BUILT_IN.card(study.task).sets)
        assert store.read(cell.id).provenance["digests"]["attested"].startswith("no: ")
    built = build_report(store, tmp_path / "report")
    page = built.page.read_text(encoding="utf-8")
    assert all(task in page for task in TASKS)
    assert "fixture" in page
