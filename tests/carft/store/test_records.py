"""The results folder: what is written is read back, what is torn is refused, what is stale is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from carft import NUMERICS
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.core.metrics import Predictions
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.helpers import LR, made_up_predictions, made_up_record, quick_cell, same_predictions

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
            outcomes = store.outcomes(CELL.id, name)
            assert np.array_equal(outcomes.predicted, given_predictions.predicted)
            assert np.array_equal(outcomes.predicted_contexts, given_predictions.predicted_contexts)
            assert list(outcomes.groups) == list(given_predictions.groups)


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


def test_a_cell_without_its_record_is_not_done_whatever_else_is_there(written: Store) -> None:
    (written.folder(CELL.id) / "record.json").unlink()
    assert not written.is_current(CELL.id) and written.ids() == []


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
    ("record.json", lambda store: store.is_current(CELL.id)),
    ("predictions.parquet", lambda store: store.predictions(CELL.id, "val")),
    ("predictions.parquet", lambda store: store.outcomes(CELL.id, "val")),
    ("history.parquet", lambda store: store.history(CELL.id)),
    ("evaluations/test.parquet", lambda store: store.predictions(CELL.id, "test")),
    ("evaluations/test.json", lambda store: store.metrics(CELL.id)),
]


@pytest.mark.parametrize("keep", [0, 0.5, 0.95])
@pytest.mark.parametrize(("name", "read"), TEARS)
def test_a_torn_file_is_refused_by_name(written: Store, name: str, read: Callable, keep: float) -> None:
    path = written.folder(CELL.id) / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(UserError) as refused:
        read(written)
    assert str(path) in refused.value.message


@pytest.mark.parametrize("name", ["spec.json", "predictions.parquet"])
def test_a_file_that_is_missing_is_refused_by_name(written: Store, name: str) -> None:
    path = written.folder(CELL.id) / name
    path.unlink()
    with pytest.raises(UserError) as refused:
        written.read(CELL.id)
        written.predictions(CELL.id, "val")
    assert str(path) in refused.value.message


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
    with pytest.raises(UserError, match=f"was computed with NUMERICS {NUMERICS - 1}, not {NUMERICS}"):
        store.require_current(cell.id)
    assert list(store.records()) == []
    assert run_cell(cell, store, execution).status == "done"
    assert store.is_current(cell.id)
    (kept,) = (store.root / "superseded").iterdir()
    assert kept.name.startswith(cell.id)
    assert (kept / "record.json").read_bytes() == old


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
