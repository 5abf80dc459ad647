"""Folders that are not as they should be: named, kept apart, refused in words, never averaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carft import NUMERICS
from carft.catalog import catalog
from carft.catalog.resolve import specify
from carft.data.icons.family import FAMILY
from carft.store.failures import write_failure
from carft.store.records import Store
from reports.judge.claims.claim import Verdict
from reports.judge.claims.verdicts import verdicts
from reports.judge.entry import CAR_FT, FT
from reports.judge.findings import judge
from reports.read.scopes import BUILT_IN_POOLS
from reports.render.tables.table import table_card
from reports.render.words.verdict_words import reason_words
from tests.support.folder import draw_pets, keep_tasks, named_task
from tests.support.helpers import run_cli
from tests.support.planted import GOOD, change_study, changed, plant
from tests.support.reading import evidence_in, judged_of, table_of

TASKS = ("icons-3/mix-1", "icons-3/mix-6")


@pytest.fixture
def folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A whole family of few tasks: so what is missing below is missing by the damage alone."""
    pool = replace(BUILT_IN_POOLS["icons-3"], tasks=tuple(TASKS))
    monkeypatch.setattr(catalog, "FAMILIES", (replace(FAMILY, built_in_pools=(pool,)),))
    plant(store, TASKS, GOOD)
    return store


def c3(store: Store) -> Verdict:
    return next(v for v in verdicts(evidence_in(store)) if v.claim == "C3")


def problems(store: Store) -> dict[str, str]:
    """what -> words, after everything was looked at."""
    evidence = evidence_in(store)
    verdicts(evidence)
    table = table_card("problems").make(judge(evidence.folder))
    return dict(zip(table["what"], table["words"], strict=True))


def confirm(store: Store, method: str = "ft", task: str = TASKS[0]) -> list[str]:
    return next(s for s in store.studies() if (s.task, s.method) == (task, method)).confirm


def test_a_whole_folder_has_no_problems(folder: Store) -> None:
    assert problems(folder) == {}
    assert c3(folder).verdict == "suggested reproduced"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("evaluations/test.parquet", "corrupt predictions"),
        ("evaluations/ood-hands.parquet", "corrupt predictions"),
        ("evaluations/test.json", "corrupt evaluation"),
        ("record.json", "corrupt record"),
        ("record.json", "missing seed"),
    ],
)
def test_what_is_corrupt_or_missing_is_named_and_its_seed_left_out(folder: Store, name: str, what: str) -> None:
    cell = confirm(folder)[1]
    path = folder.folder(cell) / name
    content = path.read_bytes()
    path.unlink()
    if what != "missing seed":
        path.write_bytes(content[:100] if path.suffix == ".parquet" else b"{")
    found, verdict = problems(folder), c3(folder)
    assert (cell if name == "record.json" else path.name) in found[what]
    assert (verdict.flag, verdict.direction) == ("in doubt", "for") and cell in reason_words(verdict)
    if what == "corrupt record":
        assert cell in found["missing seed"]
    assert len(evidence_in(folder).cells(TASKS[0], FT)) == 2


def test_a_failed_cell_is_named_with_its_reason(folder: Store) -> None:
    write_failure(folder, specify(TASKS[0], "ft", {"lr": 1.0}, 7), "diverged", "the training loss became nan")
    assert "ft on icons-3/mix-1, seed 7: the training loss became nan" in problems(folder)["failed cell"]


def test_cells_of_other_numerics_are_counted_and_left_out(folder: Store) -> None:
    cell = confirm(folder)[0]
    path = folder.folder(cell) / "record.json"
    content = json.loads(path.read_text())
    content["provenance"]["numerics"] = NUMERICS + 1
    path.write_text(json.dumps(content))
    assert f"1 cells were computed under NUMERICS {NUMERICS + 1}" in problems(folder)["other numerics"]
    assert (c3(folder).flag, c3(folder).direction) == ("in doubt", "for")


def test_a_task_whose_card_is_torn_and_a_torn_study_are_left_out_of_report_and_verify(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    keep_tasks(store, [named_task("zoo/pets", draw_pets(tmp_path))])
    plant(store, (TASKS[0], "zoo/pets"), GOOD)
    (card,) = store.root.glob("tasks/*.json")
    torn = [card, store.study_path(store.study_names()[0])]
    for path in torn:
        path.write_bytes(b"")
    where = ("--results", store.root, "--out", tmp_path / "report")
    for command in (("report", "--no-images"), ("report", "verify")):
        done = run_cli(*command, *where)
        assert done.returncode == 0 and card.name in done.stderr, done.stderr
    table = (tmp_path / "report" / "tables" / "problems.csv").read_text()
    assert "zoo/pets" in table and "study.json" in table


def write_test(store: Store, cell: str, **changes: Any) -> None:
    """Write the predictions of a cell on the test set again, with changes."""
    metrics = {k: v for k, v in store.metrics(cell).items() if k.startswith("test")}
    store.add_evaluation(cell, "test", metrics, replace(store.predictions(cell, "test"), **changes), {})


def test_other_images_are_never_paired_and_named(folder: Store) -> None:
    cell = confirm(folder, "car_ft")[0]
    write_test(folder, cell, images=["another drawing", *list(folder.predictions(cell, "test").images)[1:]])
    verdict = c3(folder)
    assert verdict.flag == "not comparable"
    assert cell in reason_words(verdict) and "different images" in reason_words(verdict)
    table = table_of(judged_of(folder), "tasks")
    row = table[(table["task"] == TASKS[0]) & (table["method"] == "car_ft")]
    assert np.isnan(row["low"].item())


def test_the_same_images_in_another_order_are_paired_and_with_other_labels_not(folder: Store) -> None:
    before = c3(folder)
    cell = confirm(folder, "car_ft")[0]
    whole = folder.predictions(cell, "test")
    order = np.random.default_rng(0).permutation(len(whole.labels))
    named = {name: [getattr(whole, name)[i] for i in order] for name in ("images", "groups")}
    arrays = {name: getattr(whole, name)[order] for name in ("labels", "contexts", "logits", "context_logits")}
    write_test(folder, cell, **named, **arrays)
    after = c3(folder)
    assert (after.number.effect, after.number.low) == pytest.approx((before.number.effect, before.number.low))
    write_test(folder, cell, labels=arrays["labels"][::-1].copy())
    assert "images or labels" in reason_words(c3(Store(folder.root)))


def test_studies_on_other_data_or_of_another_model_stand_apart(folder: Store) -> None:
    current = folder.studies()[0].data_version
    change_study(folder, TASKS[0], "car_ft", data_version="icons-0")
    evidence = evidence_in(folder)
    assert [v.name for v in evidence.views()] == ["icons-3", "icons-3 (data icons-0)"]
    assert "other data" in set(table_card("problems").make(judge(evidence.folder))["what"])
    found = [v for v in verdicts(evidence) if v.claim == "C3"]
    assert [(v.verdict, v.flag) for v in found] == [("inconclusive", "in doubt"), ("not run", "")]
    assert "missing (icons-3/mix-1)" in reason_words(found[0])
    change_study(folder, TASKS[0], "car_ft", data_version=current, model="RN50")
    names = [v.name for v in evidence_in(folder).views()]
    assert len(names) == len(set(names)) == 2 and any("RN50" in name for name in names)


def test_a_torn_study_and_one_of_an_unknown_task_are_named(folder: Store) -> None:
    folder.write_study("elsewhere", changed(folder.studies()[0], task="icons-3/nowhere"))
    (folder.root / "studies" / "torn").mkdir()
    (folder.root / "studies" / "torn" / "study.json").write_text("{")
    found = problems(folder)
    assert "icons-3/nowhere" in found["unknown task"] and "corrupt study" in found
    assert evidence_in(folder).cells("icons-3/mix-9", CAR_FT) == ()
