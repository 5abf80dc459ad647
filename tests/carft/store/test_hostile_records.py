"""Records that others wrote: what is wrong is named, too large files are not read, no command ends in a traceback."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carft.core.errors import CorruptFile, UserError
from carft.store import limits
from carft.store.archive import JOINED, MANIFEST, ArchiveManifest, pack, unpack
from carft.store.failures import write_failure
from carft.store.journal import JOURNAL
from carft.store.records import Store
from carft.store.sweep_state import Counts, SweepState, write_state
from reports.evidence.views import read_evidence
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
@pytest.mark.parametrize("number", range(8))
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
    "val/loss": lambda record: record["metrics"].pop("val/loss"),
    "packages": lambda record: record["provenance"].update(packages=["torch"]),
    "digests": lambda record: record["provenance"].update(digests="attested"),
    "execution": lambda record: record["provenance"].update(execution={"workers": "two"}),
    "numerics": lambda record: record["provenance"].pop("numerics"),
}


@pytest.mark.parametrize("word", WRONG_RECORDS)
def test_a_wrong_record_is_a_problem_and_the_others_are_reported(planted: Store, word: str) -> None:
    cell = next(study for study in planted.studies() if study.method == "ft").confirm[0]
    edit(planted.folder(cell) / "record.json", WRONG_RECORDS[word])
    archive = read_evidence(planted).archive
    problem = archive.problems[0]
    assert (problem.kind, problem.where) == ("corrupt record", cell) and word in problem.text
    assert {*archive.records} == {*planted.ids()} - {cell}
    done = run_cli("ls", "cells", "--results", planted.root, "--json")
    assert done.returncode == 0 and cell in done.stderr
    assert {row["cell"] for row in json.loads(done.stdout)} == {*planted.ids()} - {cell}


@pytest.mark.parametrize(
    "change",
    [
        lambda study: study["space"].update(lr=[-1.0, 1.0, 0.5]),
        lambda study: study["space"].update(lr=[1.0, 0.1, 0.5]),
        lambda study: study.update(reading={"kl_direction": ["forward"]}),
    ],
)
def test_a_wrong_study_is_a_problem(planted: Store, change: Callable[[dict[str, Any]], Any]) -> None:
    path = study_of(planted, "ft")
    edit(path, change)
    archive = read_evidence(planted).archive
    assert ("corrupt study", path.parent.name) in [(p.kind, p.where) for p in archive.problems]
    assert [study.method for study in archive.studies] == ["car_ft"]


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


WRONG_TABLES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "no pred": lambda table: table.drop_columns("pred"),
    "no rows": lambda table: table.slice(0, 0),
    "text": lambda table: with_column(table, "pred", ["0"] * len(table)),
    "no value": lambda table: with_column(table, "label", [None] * (len(table) - 1) + [0]),
    "negative": lambda table: with_column(table, "pred", [-1] * len(table)),
    "above int32": lambda table: with_column(table, "context_pred", [2**40] * len(table)),
    "numbers for names": lambda table: with_column(table, "image", [1] * len(table)),
    "lists": lambda table: with_column(table, "label", [[1]] * len(table)),
}


@pytest.mark.parametrize("wrong", WRONG_TABLES)
def test_wrong_predictions_are_a_problem(planted: Store, wrong: str) -> None:
    cell = next(study for study in planted.studies() if study.method == "ft").confirm[0]
    path = planted.predictions_path(cell, "test")
    pq.write_table(WRONG_TABLES[wrong](pq.read_table(path)), path)
    evidence = read_evidence(planted)
    assert not evidence.archive.is_open(cell, TASK, ["test"])
    problems = [(p.kind, p.where) for p in evidence.archive.problems]
    assert problems == [("corrupt predictions", cell)]


@pytest.fixture
def small(tmp_path: Path) -> Store:
    """One finished cell."""
    store = Store(tmp_path / "results")
    store.write(made_up_record(quick_cell("ft", lr=LR)), [{"step": 0.0}], made_up_predictions())
    return store


def test_files_above_the_limits_are_not_read(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, opened = small.ids()[0], []
    path = small.folder(cell) / "record.json"
    edit(path, lambda record: record.update(unknown=["x" * 1000] * 2000))
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path))
    with pytest.raises(CorruptFile, match=r"2,\d+,\d+ bytes, and at most 1,048,576 are read"):
        small.read(cell)
    assert not opened


def changed_archive(store: Store, archive: Path, name: str, content: Sequence[bytes]) -> Path:
    """The archive of a folder with other content of a file, compressed."""
    pack(store, archive.with_name("whole.zip"))
    whole = b"".join(content)
    with zipfile.ZipFile(archive.with_name("whole.zip")) as old:
        files = {entry: old.read(entry) for entry in old.namelist()} | {name: whole}
    if name != MANIFEST:
        manifest = json.loads(files[MANIFEST])
        manifest["files"][name] = {"sha256": hashlib.sha256(whole).hexdigest(), "bytes": len(whole)}
        files[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as new:
        for entry, text in files.items():
            new.writestr(entry, text)
    return archive


def test_a_manifest_above_the_limit_is_refused(small: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArchiveManifest, "largest", 64 * limits.MIB)
    content = [b'{"unknown": [', b"[]," * 24 * limits.MIB, b"[]]}"]
    archive = changed_archive(small, tmp_path / "a.zip", MANIFEST, content)
    with pytest.raises(UserError, match="bytes, and at most 67,108,864 are read"):
        unpack(archive, tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


def test_an_archive_of_too_many_files_is_refused(small: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENTRIES", 2)
    pack(small, tmp_path / "a.zip")
    with pytest.raises(UserError, match="files, and at most 2 are read"):
        unpack(tmp_path / "a.zip", tmp_path / "imported")


def test_a_line_of_documents_above_the_limit_is_refused(small: Store, tmp_path: Path) -> None:
    content = [b'{"name": "cells/x/record.json", "text": "', b"x" * 40 * limits.MIB, b'"}\n']
    archive = changed_archive(small, tmp_path / "a.zip", JOINED, content)
    with pytest.raises(UserError, match="bytes in a line, and at most 33,554,432 are read"):
        unpack(archive, tmp_path / "imported")


def test_a_line_of_a_journal_above_the_limit_is_refused(small: Store) -> None:
    (small.root / JOURNAL / "x.jsonl").write_bytes(b"[" * (limits.LIST + 10))
    with pytest.raises(CorruptFile, match="bytes in a line"):
        small.journal()
