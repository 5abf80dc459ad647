"""Records, the journal and failures: what was written is read back, and what was changed is named."""

from __future__ import annotations

import errno
import json
import pickle
import re
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from ray.exceptions import ActorDiedError, OutOfMemoryError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from safetensors import SafetensorError

from carft import NUMERICS
from carft.config.cell import Cell
from carft.core.errors import DeviceFailed, Diverged, UnreadableImage, UserError
from carft.core.failure_kinds import failure_kind, gpu_in, reason_of
from carft.core.files import write_json
from carft.core.metrics import Predictions
from carft.store.archive import pack, unpack
from carft.store.failures import failures, read_failure, tail, write_failure
from carft.store.journal import journal_digest, own_chain_path, read_journal
from carft.store.merge import merge
from carft.store.predictions import frame_of
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.conduct import another_process
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_record, quick_cell, same_predictions
from tests.support.planted import QUICK, plant

CELL = quick_cell("ft", lr=LR)


def logits(rows: int, columns: int) -> st.SearchStrategy[np.ndarray]:
    return arrays.arrays(np.float32, (rows, columns), elements=st.floats(-(2.0**100), 2.0**100, width=32))


@st.composite
def predictions(draw: st.DrawFn) -> Predictions:
    rows, classes, contexts = draw(st.integers(1, 8)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    names = st.lists(st.text(max_size=10), min_size=rows, max_size=rows)
    return Predictions(
        images=draw(names),
        groups=draw(names),
        labels=draw(arrays.arrays(np.int64, rows, elements=st.integers(0, classes - 1))),
        contexts=draw(arrays.arrays(np.int64, rows, elements=st.integers(-1, contexts - 1))),
        logits=draw(logits(rows, classes)),
        context_logits=draw(logits(rows, contexts)),
    )


@pytest.fixture
def written(store: Store) -> Store:
    """A folder with one cell that was evaluated on one set."""
    store.write(made_up_record(CELL), [{"epoch": 0.0, "step": 0.0, "lr": 0.1}], made_up_predictions())
    store.add_evaluation(CELL.id, "test", {"test/top1": 0.25}, made_up_predictions(seed=1), {"unsealed_at": "today"})
    return store


@settings(max_examples=30)
@given(predictions())
def test_predictions_are_read_back_as_they_were_written(given_predictions: Predictions) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.write(made_up_record(CELL), [], given_predictions)
        store.add_evaluation(CELL.id, "ood/hands", {}, given_predictions, {})
        for name in ("val", "ood/hands"):
            found = store.predictions(CELL.id, name)
            assert same_predictions(found, given_predictions)
            assert found.logits.dtype == np.float32
            frame = frame_of(store.prediction_table(CELL.id, name))
            assert frame.group_names[frame.groups].tolist() == list(given_predictions.groups)


def test_a_record_is_read_back_as_it_was_written(written: Store) -> None:
    record = made_up_record(CELL)
    found = written.read(CELL.id)
    assert found.cell == CELL
    assert (found.metrics, found.provenance, found.durations) == (record.metrics, record.provenance, record.durations)
    assert [r.id for r in written.records()] == written.ids() == [CELL.id]
    assert written.metrics(CELL.id) == {"val/top1": 0.5, "val/loss": 1.0, "test/top1": 0.25}
    assert written.evaluated(CELL.id) == {"test"}


def test_history_rows_may_hold_different_columns(store: Store) -> None:
    rows = [{"step": 0.0, "train/loss": 2.0}, {"step": 1.0, "train/loss": 1.0, "val/top1": 0.5}]
    store.write(made_up_record(CELL), rows, made_up_predictions())
    history = store.history(CELL.id)
    assert history["train/loss"].tolist() == [2.0, 1.0]
    assert history["val/top1"][-1] == 0.5
    store.write(made_up_record(quick_cell("zeroshot")), [], made_up_predictions())
    assert store.history(quick_cell("zeroshot").id) == {}


def test_a_finished_cell_is_not_written_again(written: Store) -> None:
    before = (written.folder(CELL.id) / "record.json").read_bytes()
    written.write(made_up_record(CELL, {"val/top1": 0.9, "val/loss": 0.1}), [], made_up_predictions(seed=5))
    assert (written.folder(CELL.id) / "record.json").read_bytes() == before
    assert same_predictions(written.predictions(CELL.id, "val"), made_up_predictions())


def test_a_metric_that_is_no_number_is_not_recorded(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.write(made_up_record(CELL, {"val/top1": float("nan")}), [], made_up_predictions())
    assert not store.is_done(CELL.id)


TEARS: list[tuple[str, Callable[[Store], object]]] = [
    ("record.json", lambda store: store.read(CELL.id)),
    ("spec.json", lambda store: store.read(CELL.id)),
    ("predictions.parquet", lambda store: store.predictions(CELL.id, "val")),
    ("history.parquet", lambda store: store.history(CELL.id)),
    ("evaluations/test.parquet", lambda store: store.predictions(CELL.id, "test")),
    ("evaluations/test.json", lambda store: store.metrics(CELL.id)),
]


@pytest.mark.parametrize(("name", "read"), TEARS)
def test_a_torn_file_is_refused_by_name(written: Store, name: str, read: Callable) -> None:
    path = written.folder(CELL.id) / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=re.escape(str(path))):
        read(written)


def test_a_file_that_is_missing_is_refused_by_name(written: Store) -> None:
    path = written.folder(CELL.id) / "predictions.parquet"
    path.unlink()
    with pytest.raises(UserError, match=re.escape(str(path))):
        written.predictions(CELL.id, "val")


def test_a_specification_of_another_cell_is_refused(written: Store) -> None:
    other = quick_cell("ft", seed=1, lr=LR)
    written.folder(CELL.id).rename(written.folder(other.id))
    with pytest.raises(UserError, match=CELL.id):
        written.read(other.id)


def test_a_record_of_older_numerics_is_moved_aside_and_the_cell_runs_again(
    store: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    cell = cells["zeroshot"]
    store.write(made_up_record(cell, numerics=NUMERICS - 1), [], made_up_predictions())
    old = (store.folder(cell.id) / "record.json").read_bytes()
    assert store.is_done(cell.id)
    assert not store.is_current(cell.id)
    with pytest.raises(UserError, match=f"is not done under NUMERICS {NUMERICS}"):
        store.require_current(cell.id)
    assert list(store.records()) == []
    assert run_cell(cell, store, execution).status == "done"
    assert store.is_current(cell.id)
    (kept,) = (store.root / "superseded").iterdir()
    assert kept.name.startswith(cell.id)
    assert (kept / "record.json").read_bytes() == old


def test_a_damaged_cell_is_named_and_made_again(store: Store, execution: Execution, cells: dict[str, Cell]) -> None:
    cell, said = cells["zeroshot"], list[str]()
    store.write(made_up_record(cell), [], made_up_predictions())
    path = store.folder(cell.id) / "record.json"
    path.write_text("{")
    assert run_cell(cell, store, execution, log=said.append).status == "done"
    assert sum(str(path) in line and line.endswith("The cell is made again.") for line in said) == 1


def test_a_cell_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    cells = [quick_cell("ft", seed=seed, lr=LR) for seed in range(17)]
    for cell in cells:
        store.write(made_up_record(cell), [], made_up_predictions())
    ids = [cell.id for cell in cells]
    assert [store.resolve(name) for name in ids] == ids
    digit = next(d for d in "0123456789abcdef" if sum(name.startswith(d) for name in ids) > 1)
    with pytest.raises(UserError, match="Several cells"):
        store.resolve(digit)
    with pytest.raises(UserError, match="There is no finished cell"):
        store.resolve("xyz")


CELL, OTHER = quick_cell("ft", lr=3e-4), quick_cell("ft", lr=1e-3)


def put(store: Store, *cells: object) -> None:
    for cell in cells:
        store.write(made_up_record(cell), [{"train/loss": 1.0}], made_up_predictions())  # type: ignore[arg-type]


def _finish(root: str) -> None:
    put(Store(root), CELL)
    Store(root).add_evaluation(CELL.id, "test", {"test/top1": 0.5}, made_up_predictions(), {"by": "train"})


def test_each_process_has_a_chain_and_a_line_that_joins_follows_what_was_before_it(store: Store) -> None:
    store.note("planned")
    with ProcessPoolExecutor(1) as pool:
        pool.submit(_finish, str(store.root)).result()
    store.note("ended")
    journal = store.journal()
    assert [line.kind for line in journal.lines.values()] == ["planned", "finished", "opened", "ended"]
    assert len(list((store.root / "journal").iterdir())) == 2 and not journal.problems
    (planned,), (finished,), (opened,), (ended,) = map(journal.of, ("planned", "finished", "opened", "ended"))
    assert finished.parents == [planned.digest] and ended.parents == [planned.digest, opened.digest]
    assert journal.follows(opened, planned) and journal.follows(ended, finished)
    assert not journal.follows(planned, opened) and not journal.follows(opened, ended)
    assert set(finished.files) == {"spec.json", "history.parquet", "predictions.parquet", "record.json"}
    assert opened.files.keys() == {"evaluations/test.json", "evaluations/test.parquet"} and opened.by == "train"
    assert [(access.cell, access.set, access.by) for access in store.unsealings()] == [(CELL.id, "test", "train")]


def _changed(journal: Path, how: str) -> None:
    path, *_ = (path for path in journal.iterdir() if b"finished" in path.read_bytes())
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "edited":
        lines[0] = lines[0].replace(b'"task":', b'"task": "x", "was":')
    elif how == "shortened":
        del lines[-1]
    elif how == "garbled":
        lines[0] = b"{\n"
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("how", ["edited", "shortened", "garbled"])
def test_a_chain_that_was_changed_is_named(store: Store, how: str) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(_finish, str(store.root)).result()
    store.note("ended")
    assert not store.journal().problems
    _changed(store.root / "journal", how)
    assert store.journal().problems


def test_an_incomplete_line_counts_for_nothing_and_the_next_one_takes_its_place(store: Store) -> None:
    store.note("planned")
    path = own_chain_path(store.root / "journal")
    with path.open("ab") as stream:
        stream.write(b'{"kind": "fin')  # as a full disk or kill -9 leaves it
    assert not store.journal().problems and len(store.journal().lines) == 1
    store.note("ended")
    journal = store.journal()
    assert not journal.problems and len(journal.lines) == 2


def test_archives_and_merges_keep_the_chains(tmp_path: Path) -> None:
    first, second = (Store(tmp_path / name) for name in ("first", "second"))
    put(first, CELL)
    put(second, OTHER)
    merge(first, second, tmp_path / "both")
    both = read_journal(tmp_path / "both" / "journal")
    assert both.lines.keys() == {*first.journal().lines, *second.journal().lines} and not both.problems
    put(first, quick_cell("ft", seed=1, lr=LR))  # its chain goes on
    merge(Store(tmp_path / "both"), first, tmp_path / "later")
    assert first.journal().lines.keys() < read_journal(tmp_path / "later" / "journal").lines.keys()
    pack(Store(tmp_path / "both"), tmp_path / "both.zip")
    unpack(tmp_path / "both.zip", tmp_path / "again")
    assert journal_digest(tmp_path / "again" / "journal") == journal_digest(tmp_path / "both" / "journal")


def test_the_digest_of_the_journal_is_that_of_usual_tools(store: Store) -> None:
    put(store, CELL)
    with another_process():
        put(store, OTHER)
    command = "LC_ALL=C; sha256sum journal/* | sha256sum"
    said = subprocess.run(command, shell=True, cwd=store.root, capture_output=True, text=True, check=True).stdout
    assert said.split()[0] == journal_digest(store.root / "journal")


CASES = [
    (Diverged("the loss became nan"), "diverged"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory"),
    (MemoryError(), "out of memory"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), "out of memory"),
    (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), "device"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device"),
    (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp, unhandled cuda error"), "device"),
    (DeviceFailed("a small product is wrong", "GPU-1"), "device"),
    (RuntimeError("CUDA error: device-side assert triggered"), "error"),
    (UnreadableImage("The image 'a.jpg' cannot be read."), "unreadable image"),
    (UserError("There is no GPU on this machine."), "refused"),
    (OSError(errno.ENOSPC, "No space left on device"), "storage"),
    (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "storage"),
    (ActorDiedError(), "lost"),
    (OutOfMemoryError("the node runs low on memory"), "lost"),
    (ValueError("nobody expected this"), "error"),
]


@pytest.mark.parametrize(("error", "kind"), CASES, ids=lambda case: type(case).__name__)
def test_a_failure_has_its_kind_alone_and_wrapped(error: Exception, kind: str) -> None:
    assert failure_kind(error) == kind
    peer = RuntimeError("Connection closed by peer")
    wrapped = WorkerGroupError("two workers failed", {0: UserExceptionWithTraceback(error, "Traceback ..."), 1: peer})
    raised = RuntimeError("the task failed")
    raised.__cause__ = wrapped
    assert failure_kind(raised) == kind
    assert reason_of(raised) == reason_of(error)


def test_processes_that_lost_touch_with_one_that_is_gone_are_lost_themselves() -> None:
    said = "[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:40361"
    alone = WorkerGroupError("a worker failed", {0: UserExceptionWithTraceback(RuntimeError(said), "Traceback ...")})
    assert failure_kind(alone) == "lost"
    assert (
        failure_kind(RuntimeError("NCCL error in: x.cpp, remote process exited or there was a network error")) == "lost"
    )
    assert failure_kind(WorkerGroupError("both failed", {0: RuntimeError(said), 1: ValueError("why")})) == "error"


def test_the_gpu_of_a_worker_is_found_in_what_the_workers_of_a_cell_raise() -> None:
    failed = DeviceFailed("it is lost", "GPU-7")
    raised = WorkerGroupError("two failed", {0: RuntimeError("Connection closed by peer"), 1: failed})
    assert (failure_kind(raised), gpu_in(raised), reason_of(raised)) == ("device", "GPU-7", "GPU-7: it is lost")
    assert gpu_in(pickle.loads(pickle.dumps(failed))) == "GPU-7"
    assert gpu_in(ValueError("why")) == ""


def test_attempts_are_counted_until_the_cell_is_done(store: Store) -> None:
    for attempt in (1, 2):
        assert write_failure(store, CELL, "hang", "nothing moved", job="search").attempt == attempt
    assert write_failure(store, CELL, "error", "another job", job="curve").attempt == 1
    store.write(made_up_record(CELL), [], made_up_predictions())
    assert read_failure(store, CELL.id) is None and failures(store) == []


def test_the_end_of_a_log_begins_with_a_line(tmp_path) -> None:
    log = tmp_path / "a.log"
    assert tail(log) == tail(None) == ""
    log.write_text("first line\nsecond line\n")
    assert tail(log) == "first line\nsecond line\n"
    assert tail(log, 15) == "second line\n"


@pytest.fixture
def whole(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    plant(store, [TASK], QUICK)
    return store


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
