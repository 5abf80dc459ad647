"""Records that others wrote: what is wrong is named, no command ends in a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carft.core.errors import UserError
from carft.store import archive
from carft.store.failures import write_failure
from carft.store.records import Store
from carft.store.sweep_state import Counts, SweepState, write_state
from reports.read.folder import read_folder
from tests.support.folder import draw_pets, keep_tasks, named_task
from tests.support.helpers import LR, made_up_predictions, made_up_record, quick_cell, run_cli
from tests.support.hostile import damage
from tests.support.planted import Plan, plant

TASK = "icons-3/mix-1"
SMALL = Plan({"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.7}, {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8}, (1, 2), groups=4)


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with every kind of file that commands read."""
    folder = tmp_path_factory.mktemp("hostile")
    store = Store(folder / "results")
    plant(store, (TASK,), SMALL, trials=2, curves=True)
    draw_pets(folder)
    keep_tasks(store, [named_task("own", folder / "pets")])
    write_failure(store, quick_cell("ft", lr=LR), "diverged", "it broke", "details", "search")
    counts = Counts(total=3, done=1)
    write_state(store, SweepState(recipe="small", host="host", pid=1, started=1.0, updated=2.0, counts=counts))
    store.put("suites/chosen.json", {"suites": ["hands"]})
    return store.root


@pytest.mark.usefixtures("few_figures")
@pytest.mark.parametrize("number", range(4))
def test_no_command_ends_in_a_traceback(every_kind: Path, tmp_path: Path, number: int) -> None:
    rng, results = Random(number), tmp_path / "results"
    shutil.copytree(every_kind, results)
    cell = rng.choice(sorted(path.name for path in results.glob("cells/*")))
    changed = damage(rng, results)
    commands: list[tuple[object, ...]] = [
        ("ls", "cells"),
        ("ls", "studies"),
        ("ls", "cells", cell),
        ("status",),
        ("results", "gc"),
        ("results", "export", tmp_path / "compact.zip", "--compact"),
    ]
    if number % 3 == 0:
        commands.append(("report", "--no-images", "--out", tmp_path / "report"))
    for words in commands:
        done = run_cli(*words, "--results", results)
        assert "Traceback" not in done.stdout + done.stderr, (changed, words, done.stderr)


@pytest.fixture
def planted(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    plant(store, (TASK,), SMALL, trials=2)
    return store


def study_of(store: Store, method: str) -> Path:
    study = next(study for study in store.studies() if study.method == method)
    return store.root / "studies" / study.id / "study.json"


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


WRONG_RECORDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "val/top1": lambda record: record["metrics"].pop("val/top1"),
    "digests": lambda record: record["provenance"].update(digests="attested"),
    "numerics": lambda record: record["provenance"].pop("numerics"),
}


@pytest.mark.parametrize("word", WRONG_RECORDS)
def test_a_wrong_record_is_a_problem_and_the_others_are_reported(planted: Store, word: str) -> None:
    cell = next(study for study in planted.studies() if study.method == "ft").confirm[0]
    edit(planted.folder(cell) / "record.json", WRONG_RECORDS[word])
    found = read_folder(planted)
    problem = found.notes[0]
    assert (problem.kind, problem.where) == ("corrupt record", cell) and word in problem.text
    assert {*found.records} == {*planted.ids()} - {cell}
    done = run_cli("ls", "cells", "--results", planted.root, "--json")
    assert done.returncode == 0 and cell in done.stderr
    assert {row["cell"] for row in json.loads(done.stdout)} == {*planted.ids()} - {cell}


@pytest.mark.parametrize(
    "change",
    [
        lambda study: study["space"].update(lr=[-1.0, 1.0, 0.5]),
        lambda study: study.update(reading={"kl_direction": ["forward"]}),
    ],
)
def test_a_wrong_study_is_a_problem(planted: Store, change: Callable[[dict[str, Any]], Any]) -> None:
    path = study_of(planted, "ft")
    edit(path, change)
    found = read_folder(planted)
    assert ("corrupt study", path.parent.name) in [(p.kind, p.where) for p in found.notes]
    assert [study.method for study in found.studies] == ["car_ft"]


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


WRONG_TABLES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "no pred": lambda table: table.drop_columns("pred"),
    "no rows": lambda table: table.slice(0, 0),
    "no value": lambda table: with_column(table, "label", [None] * (len(table) - 1) + [0]),
    "negative": lambda table: with_column(table, "pred", [-1] * len(table)),
    "above int32": lambda table: with_column(table, "context_pred", [2**40] * len(table)),
    "lists": lambda table: with_column(table, "label", [[1]] * len(table)),
}


@pytest.mark.parametrize("wrong", WRONG_TABLES)
def test_wrong_predictions_are_a_problem(planted: Store, wrong: str) -> None:
    cell = next(study for study in planted.studies() if study.method == "ft").confirm[0]
    path = planted.predictions_path(cell, "test")
    pq.write_table(WRONG_TABLES[wrong](pq.read_table(path)), path)
    results = read_folder(planted)
    assert not results.is_open(cell, TASK, ["test"])
    problems = [(p.kind, p.where) for p in results.files.notes]
    assert problems == [("corrupt predictions", cell)]


@pytest.fixture
def small(tmp_path: Path) -> Store:
    """One finished cell."""
    store = Store(tmp_path / "results")
    store.write(made_up_record(quick_cell("ft", lr=LR)), [{"step": 0.0}], made_up_predictions())
    return store


@pytest.mark.parametrize(
    ("limit", "most", "says"), [("ENTRIES", 2, "files"), ("LARGEST_MANIFEST", 64, "bytes of manifest")]
)
def test_an_archive_above_a_limit_is_refused(
    small: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, says: str
) -> None:
    monkeypatch.setattr(archive, limit, most)
    archive.pack(small, tmp_path / "a.zip")
    with pytest.raises(UserError, match=f"{says}.*, and at most {most} are read"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "imported")
    assert not (tmp_path / "imported").exists()
