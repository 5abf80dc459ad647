"""Folders that are not as they should be: named, kept apart, refused in words, never averaged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from carft import NUMERICS, SCHEMA_VERSION
from carft.core.errors import UserError
from carft.data.icons.family import Icons
from carft.spec.resolve import specify
from carft.store.failures import write_failure
from carft.store.records import Store
from reports.claims.verdicts import Verdict, verdicts
from reports.evidence.evidence import CAR_FT, FT
from reports.evidence.scopes import BUILT_IN_POOLS
from reports.evidence.views import read_evidence
from reports.tables.table import Sources, table_card
from tests.support.planted import Plan, change_study, changed, plant

TASKS = ("icons/body", "icons/tools")
PLAN = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.75}, context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9}, groups=20
)


@pytest.fixture
def folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A whole family of few tasks: so what is missing below is missing by the damage alone."""
    pool = replace(BUILT_IN_POOLS["icons"], tasks=tuple(TASKS))
    monkeypatch.setattr(Icons, "pools", lambda self, studied: (pool,))
    plant(store, TASKS, PLAN, curves=False)
    return store


def c3(store: Store) -> Verdict:
    return next(v for v in verdicts(read_evidence(store)) if v.claim == "C3")


def problems(store: Store) -> dict[str, str]:
    """what -> words, after everything was looked at."""
    evidence = read_evidence(store)
    verdicts(evidence)
    table = table_card("problems").make(Sources(evidence))
    return dict(zip(table["what"], table["words"], strict=True))


def confirm(store: Store, method: str = "ft", task: str = TASKS[0]) -> list[str]:
    return next(s for s in store.studies() if (s.task, s.method) == (task, method)).confirm


def test_a_whole_folder_has_no_problems(folder: Store) -> None:
    assert problems(folder) == {}
    assert c3(folder).verdict == "suggested"


def test_a_torn_record_is_named_and_its_seed_missing(folder: Store) -> None:
    cell = confirm(folder)[0]
    path = folder.folder(cell) / "record.json"
    path.write_text(path.read_text()[:40])
    found = problems(folder)
    assert cell in found["torn record"] and cell in found["missing seed"]
    verdict = c3(folder)
    assert verdict.verdict == "in doubt, for"
    assert "icons/body has seeds that only one side was run with" in verdict.reason and cell in verdict.reason


@pytest.mark.parametrize("name", ["test.parquet", "ood-hands.parquet"])
def test_torn_predictions_are_named_and_their_seed_missing(folder: Store, name: str) -> None:
    cell = confirm(folder)[1]
    path = folder.folder(cell) / "evaluations" / name
    path.write_bytes(path.read_bytes()[:100])
    assert name in problems(folder)["torn predictions"]
    assert c3(folder).verdict == "in doubt, for"
    assert len(read_evidence(folder).cells(TASKS[0], FT)) == 2


def test_a_torn_evaluation_is_named(folder: Store) -> None:
    cell = confirm(folder)[1]
    (folder.folder(cell) / "evaluations" / "test.json").write_text("{")
    assert "test.json" in problems(folder)["torn evaluation"]
    assert c3(folder).verdict == "in doubt, for"


def test_a_missing_seed_is_named(folder: Store) -> None:
    cell = confirm(folder)[2]
    (folder.folder(cell) / "record.json").unlink()
    assert cell in problems(folder)["missing seed"]
    assert cell in c3(folder).reason


def test_a_failed_cell_is_named_with_its_reason(folder: Store) -> None:
    write_failure(folder, specify(TASKS[0], "ft", {"lr": 1.0}, 7), "diverged", "the training loss became nan")
    assert "ft on icons/body, seed 7: the training loss became nan" in problems(folder)["failed cell"]


def test_cells_of_other_numerics_are_counted_and_left_out(folder: Store) -> None:
    cell = confirm(folder)[0]
    path = folder.folder(cell) / "record.json"
    content = json.loads(path.read_text())
    content["provenance"]["numerics"] = NUMERICS + 1
    path.write_text(json.dumps(content))
    assert f"1 cells were computed under NUMERICS {NUMERICS + 1}" in problems(folder)["other numerics"]
    assert c3(folder).verdict == "in doubt, for"


def test_a_record_of_another_schema_is_refused_in_words(folder: Store) -> None:
    cell = confirm(folder)[0]
    path = folder.folder(cell) / "record.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(UserError, match=f"schema version {SCHEMA_VERSION + 1}.*reads version {SCHEMA_VERSION}"):
        read_evidence(folder)


def other_images(store: Store, cell: str, name: str = "test") -> None:
    whole = store.predictions(cell, name)
    images = ["another drawing", *list(whole.images)[1:]]
    metrics = {k: v for k, v in store.metrics(cell).items() if k.startswith(name)}
    store.add_evaluation(cell, name, metrics, replace(whole, images=images), {})


def test_other_images_are_never_paired_and_named(folder: Store) -> None:
    cell = confirm(folder, "car_ft")[0]
    other_images(folder, cell)
    verdict = c3(folder)
    assert verdict.verdict == "not comparable"
    assert cell in verdict.reason and "another drawing" in verdict.reason
    table = table_card("tasks").make(Sources(read_evidence(folder)))
    row = table[(table["task"] == TASKS[0]) & (table["method"] == "car_ft")]
    assert np.isnan(row["low"].item())


def test_the_same_images_in_another_order_are_paired(folder: Store) -> None:
    before = c3(folder)
    cell = confirm(folder, "car_ft")[0]
    whole = folder.predictions(cell, "test")
    order = np.random.default_rng(0).permutation(len(whole.labels))
    shuffled = replace(
        whole,
        images=[whole.images[i] for i in order],
        groups=[whole.groups[i] for i in order],
        **{k: getattr(whole, k)[order] for k in ("labels", "contexts", "logits", "context_logits")},
    )
    metrics = {k: v for k, v in folder.metrics(cell).items() if k.startswith("test")}
    folder.add_evaluation(cell, "test", metrics, shuffled, {})
    after = c3(folder)
    assert (after.effect, after.low) == pytest.approx((before.effect, before.low))


def test_images_with_other_labels_are_not_paired(folder: Store) -> None:
    cell = confirm(folder, "car_ft")[0]
    whole = folder.predictions(cell, "test")
    metrics = {k: v for k, v in folder.metrics(cell).items() if k.startswith("test")}
    folder.add_evaluation(cell, "test", metrics, replace(whole, labels=whole.labels[::-1].copy()), {})
    assert "other labels" in c3(folder).reason


def test_studies_on_other_data_stand_apart(folder: Store) -> None:
    change_study(folder, TASKS[0], "car_ft", data_version="icons-0")
    evidence = read_evidence(folder)
    assert [v.name for v in evidence.views()] == ["icons", "icons (data icons-0)"]
    assert "other data" in set(table_card("problems").make(Sources(evidence))["what"])
    found = [v for v in verdicts(evidence) if v.claim == "C3"]
    assert [v.verdict for v in found] == ["inconclusive", "not run"]
    assert "missing (icons/body)" in found[0].reason


def test_studies_of_another_model_stand_apart(folder: Store) -> None:
    change_study(folder, TASKS[0], "car_ft", model="RN50")
    names = [v.name for v in read_evidence(folder).views()]
    assert len(names) == 2 and len(set(names)) == 2 and any("RN50" in name for name in names)


def test_a_study_of_an_unknown_task_is_named(folder: Store) -> None:
    folder.write_study("elsewhere", changed(folder.studies()[0], task="icons/nowhere"))
    assert "icons/nowhere" in problems(folder)["unknown task"]


def test_a_torn_study_is_named(folder: Store) -> None:
    (folder.root / "studies" / "torn").mkdir()
    (folder.root / "studies" / "torn" / "study.json").write_text("{")
    assert "torn study" in problems(folder)


def test_only_cells_of_the_scope_are_used(folder: Store) -> None:
    evidence = read_evidence(folder)
    assert evidence.cells("icons/weather", CAR_FT) == ()
