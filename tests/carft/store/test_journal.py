"""Chains of the journal: what follows what, what a killed process leaves, and what was changed afterwards."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from carft.store.archive import pack, unpack
from carft.store.journal import read_journal, writer_of
from carft.store.merge import merge
from carft.store.records import Store
from tests.support.helpers import made_up_predictions, made_up_record, quick_cell

CELL, OTHER = quick_cell("ft", lr=3e-4), quick_cell("ft", lr=1e-3)


def put(store: Store, *cells: object) -> None:
    for cell in cells:
        store.write(made_up_record(cell), [{"train/loss": 1.0}], made_up_predictions())  # type: ignore[arg-type]


def _finish(root: str) -> None:
    put(Store(root), CELL)
    Store(root).add_evaluation(CELL.id, "test", {"test/top1": 0.5}, made_up_predictions(), {"by": "train"})


def test_each_process_has_a_chain_and_a_head_covers_what_was_before_it(store: Store) -> None:
    planned = store.note("planned")
    with ProcessPoolExecutor(1) as pool:
        pool.submit(_finish, str(store.root)).result()
    journal = store.journal()
    assert [line.kind for line in journal.lines.values()] == ["planned", "finished", "opened"]
    assert len(list((store.root / "journal").iterdir())) == 2 and not journal.problems
    assert journal.of("finished")[0].parents == [planned]
    head = store.note("ended")
    journal = store.journal()
    assert journal.head == head and len(journal.covered(head)) == 4
    assert journal.covered(planned) == {planned} and not journal.covered("0" * 64)
    finished, opened = journal.of("finished", "opened")
    assert set(finished.files) == {"spec.json", "history.parquet", "predictions.parquet", "record.json"}
    assert opened.files.keys() == {"evaluations/test.json", "evaluations/test.parquet"} and opened.by == "train"
    assert [(access.cell, access.set, access.by) for access in store.unsealings()] == [(CELL.id, "test", "train")]


def _changed(journal: Path, how: str) -> None:
    path, *_ = (path for path in journal.iterdir() if b"finished" in path.read_bytes())
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "edited":
        lines[0] = lines[0].replace(b'"task":', b'"task": "x", "was":')
    elif how == "removed":
        del lines[0]
    elif how == "shortened":
        del lines[-1]
    elif how == "garbled":
        lines[0] = b"{\n"
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("how", ["edited", "removed", "shortened", "garbled"])
def test_a_chain_that_was_changed_is_named(store: Store, how: str) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(_finish, str(store.root)).result()
    store.note("ended")
    assert not store.journal().problems
    _changed(store.root / "journal", how)
    assert store.journal().problems


def test_an_incomplete_line_counts_for_nothing_and_the_next_one_takes_its_place(store: Store) -> None:
    store.note("planned")
    path = writer_of(store.root / "journal").path
    with path.open("ab") as stream:
        stream.write(b'{"kind": "fin')  # as a full disk or kill -9 leaves it
    assert store.journal().incomplete == [path.name] and len(store.journal().lines) == 1
    store.note("ended")
    journal = store.journal()
    assert not journal.incomplete and not journal.problems and len(journal.lines) == 2


def test_records_from_before_the_journal_are_named_by_its_first_line(store: Store) -> None:
    put(store, CELL)
    shutil.rmtree(store.root / "journal")
    put(store, OTHER)
    (line,) = store.journal().lines.values()
    assert line.cell == OTHER.id and line.found.keys() == {CELL.id}


def test_archives_and_merges_keep_the_chains(tmp_path: Path) -> None:
    first, second, old = (Store(tmp_path / name) for name in ("first", "second", "old"))
    put(first, CELL)
    put(second, OTHER)
    old_cell = quick_cell("zeroshot")
    put(old, old_cell)
    shutil.rmtree(old.root / "journal")
    merge(first, second, tmp_path / "both")
    journal = read_journal(tmp_path / "both" / "journal")
    (merged,) = journal.of("merged")
    assert set(merged.parents) == {first.journal().head, second.journal().head} and not journal.problems
    merge(Store(tmp_path / "both"), old, tmp_path / "three")
    assert read_journal(tmp_path / "three" / "journal").of("merged")[-1].found.keys() == {old_cell.id}
    pack(Store(tmp_path / "both"), tmp_path / "both.zip")
    unpack(tmp_path / "both.zip", tmp_path / "again")
    assert read_journal(tmp_path / "again" / "journal").head == journal.head
