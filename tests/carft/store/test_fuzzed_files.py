"""Files of results, with anything in them, are read or refused in words."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carft.core.errors import UserError
from carft.core.files import write_json
from carft.store.archive import MANIFEST, pack, unpack
from carft.store.document import read_document
from carft.store.failures import failures, read_failure, write_failure
from carft.store.record_files import Record
from carft.store.records import Store
from carft.store.sweep_state import Counts, RunningJob, SweepState, write_state
from carft_cli.ls import list_studies
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_record, made_up_study, quick_cell
from tests.support.planted import QUICK, plant

CELL = quick_cell("ft", lr=LR)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400)
anything = st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3))
NONSENSE = [b"[" * 100_000, b"1" * 10_000, b'{"schema_version": 1}', b"\xff\xfe", b""]
COUNTS = Counts(total=3, done=1)
RUNNING = RunningJob(job="search", cell="0123", task="icons-3/mix-6", method="ft", since=1.0)
STATE = SweepState(
    recipe="small", host="host", pid=1, started=1.0, updated=2.0, counts=COUNTS, tasks={"icons-3/mix-6": COUNTS},
    running=(RUNNING,), failed={"search-0123": "NaN"},
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One of each file, and an archive of the first of them beside the folder."""
    store = Store(tmp_path_factory.mktemp("fuzzed") / "results")
    store.write(made_up_record(CELL), [{"step": 0.0}], made_up_predictions())
    store.add_evaluation(CELL.id, "test", {"test/top1": 0.25}, made_up_predictions(seed=1), {"by": "sweep"})
    write_failure(store, CELL, "diverged", "it broke", "details", "search")
    pack(store, store.root.parent / "a.zip")
    trial = {"trial": 0, "parameters": {"lr": LR}, "cell": CELL.id, "status": "done"}
    space = {"lr": [1e-5, 1, 1e-4]}
    store.write_study("s", made_up_study(trials=[{**trial, "val/top1": 0.5}], space=space, winner=CELL.id))
    write_state(store, STATE)
    return store


def read_record(store: Store) -> None:
    record = store.read(CELL.id)
    assert isinstance(record, Record) and record.id == CELL.id and record.numerics >= 0
    assert all(isinstance(value, int | float) for value in store.metrics(CELL.id).values())
    assert store.evaluated(CELL.id) is not None and list(store.records()) is not None


def read_a_failure(store: Store) -> None:
    assert failures(store) is not None  # corrupt ones are left out
    failure = read_failure(store, CELL.id)
    assert failure is not None
    assert all(isinstance(text, str) for text in (failure.title, failure.key, failure.reason, failure.log))


def read_and_write_study(store: Store) -> None:
    path = store.root / "studies" / "s" / "study.json"
    study = store.study("s")
    assert study is not None
    content = json.loads(path.read_bytes())
    store.write_study("s", study)
    assert json.loads(path.read_bytes()) == content


def read_sweeps(store: Store) -> None:
    for path in store.root.glob("sweeps/*.json"):
        state = read_document(path, SweepState)
        assert isinstance(state.is_alive(), bool) and isinstance(state.rate, float) and state.name


FILES: dict[str, Callable[[Store], None]] = {
    f"cells/{CELL.id}/record.json": read_record,
    f"cells/{CELL.id}/spec.json": read_record,
    f"cells/{CELL.id}/evaluations/test.json": read_record,
    f"failures/{CELL.id}.json": read_a_failure,
    "studies/s/study.json": read_and_write_study,
    f"sweeps/{STATE.name}.json": read_sweeps,
}


def changed(draw: st.DrawFn, content: Any) -> Any:
    """The content with something in it replaced, removed or added."""
    if not isinstance(content, dict) or not content or draw(st.integers(0, 3)) == 0:
        return draw(anything)
    name = draw(st.sampled_from(sorted(content)))
    what = draw(st.sampled_from(("change", "remove", "add")))
    if what == "change":
        return {**content, name: changed(draw, content[name])}
    if what == "remove":
        return {key: value for key, value in content.items() if key != name}
    return {**content, draw(st.text(max_size=8)): draw(anything)}


@st.composite
def near_misses(draw: st.DrawFn, content: Any) -> bytes:
    """A JSON file like ``content``, with one thing changed; now and then any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60))
    return json.dumps(changed(draw, content)).encode()


def restored(path: Path, content: bytes, use: Callable[[], None]) -> None:
    """Use a file with other content, then put its own back."""
    own = path.read_bytes()
    try:
        path.write_bytes(content)
        use()
    finally:
        path.write_bytes(own)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=75)
@given(data=st.data())
def test_a_file_is_read_or_refused(written: Store, name: str, data: st.DataObject) -> None:
    def use() -> None:
        with suppress(UserError):
            FILES[name](written)

    restored(written.root / name, data.draw(near_misses(json.loads((written.root / name).read_bytes()))), use)


@pytest.mark.parametrize("content", NONSENSE)
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_nonsense_is_refused(written: Store, name: str, content: bytes) -> None:
    def use() -> None:
        with pytest.raises(UserError):
            FILES[name](written)

    restored(written.root / name, content, use)


def unpacked_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive, target = Path(folder) / "a.zip", Path(folder) / "inner" / "theirs"
        archive.write_bytes(content)
        try:
            unpack(archive, target)
        except UserError:
            assert not target.exists()
        else:
            assert (target / "cells").is_dir()
        beside = {path.name for path in Path(folder).iterdir()} | {p.name for p in target.parent.glob("*")}
        assert beside <= {"a.zip", "inner", "theirs"}


@settings(max_examples=75)
@given(data=st.data())
def test_an_archive_with_other_bytes_is_unpacked_or_refused(written: Store, data: st.DataObject) -> None:
    content = bytearray((written.root.parent / "a.zip").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(max(0, len(content) - 400), len(content) - 1))
        kind = data.draw(st.sampled_from(("set", "cut", "insert", "drop")))
        if kind == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            content[place:place] = data.draw(st.binary(max_size=8))
        elif kind == "drop":
            del content[place : place + data.draw(st.integers(1, 50))]
        else:
            del content[max(1, place) :]
        if not content:
            break
    unpacked_or_refused(bytes(content))


names = st.sampled_from(("cells/0123/record.json", "../x", "cells/../x", "a\0b", "cells/a", "cells/0123", MANIFEST))


@settings(max_examples=75)
@given(manifest=near_misses({"schema": 1, "data": [], "files": {"cells/0123/record.json": {"sha256": "", "bytes": 1}}}),
       entries=st.lists(st.tuples(names | st.text(max_size=12), st.binary(max_size=8)), max_size=4))  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_of_anything_is_unpacked_or_refused(manifest: bytes, entries: list[tuple[str, bytes]]) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as stream:
        stream.writestr(MANIFEST, manifest)
        for name, content in entries:
            with suppress(UnicodeEncodeError, IndexError):  # names that no zip can hold
                stream.writestr(name, content)
    unpacked_or_refused(written.getvalue())


@pytest.fixture
def whole(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    plant(store, [TASK], QUICK)
    return store


def test_every_file_is_read_and_written_back_unchanged(whole: Store, tmp_path: Path) -> None:
    assert list_studies(whole)
    for name in whole.study_names():
        path = whole.root / "studies" / name / "study.json"
        before = path.read_bytes()
        study = whole.study(name)
        assert study is not None
        whole.write_study(name, study)
        assert path.read_bytes() == before
    for cell in whole.ids():
        for path, found in zip(whole.evaluation_paths(cell), whole.evaluations(cell).values(), strict=True):
            write_json(tmp_path / "again.json", found.content())
            assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_a_key_of_a_later_version_is_kept_and_a_missing_one_gets_its_default(whole: Store) -> None:
    name = whole.study_names()[0]
    path = whole.root / "studies" / name / "study.json"
    content = json.loads(path.read_text()) | {"of_a_later_version": [1, 1.0, {"a": None}]}
    del content["reading"]
    write_json(path, content)
    before, study = path.read_bytes(), whole.study(name)
    assert study is not None and study.reading == {}
    whole.write_study(name, study)
    assert path.read_bytes() == before
