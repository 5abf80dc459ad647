"""The seal: every opening is logged, and numbers that were seen before selection are marked in every table."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from carft.config.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.posthoc.wise_ft import run_curve
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from reports.build import build_report, sources_of
from reports.evidence.caveats import EXTENDED, MARK
from sweeps.faults.lock import NAME as LOCK
from sweeps.ray_backend.jobs import payload, run_payload
from sweeps.search.protocol import Job
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_record, quick_cell
from tests.support.planted import QUICK, change_study, plant

pytestmark = pytest.mark.usefixtures("few_figures")

CELL = quick_cell("ft", lr=LR)
SETS = 6


def test_every_way_of_opening_is_logged_once(store: Store, execution: Execution) -> None:
    run_cell(CELL, store, execution)
    assert store.unsealings() == []
    run_cell(CELL, store, execution, unseal=True)
    run_cell(CELL, store, execution, unseal=True)  # nothing left to open
    assert [line.by for line in store.unsealings()] == ["train"] * SETS
    run_curve(CELL, store, execution)
    assert {line.by for line in store.unsealings()[SETS:]} == {"interpolate"}
    assert all(line.when.endswith("Z") for line in store.unsealings())


def test_a_sweep_says_that_it_was_a_sweep(store: Store) -> None:
    other = quick_cell("zeroshot")
    store.root.mkdir()
    (store.root / LOCK).touch()  # as a sweep makes it
    message = payload(Job("confirm", other), str(store.root), Execution(), start="a sweep", catalog=BUILT_IN)
    assert run_payload(message) == {"failure": ""}
    assert {(line.cell, line.by) for line in store.unsealings()} == {(other.id, "sweep")}


def _open_many(root: str) -> None:
    store = Store(root)
    for number in range(20):
        store.add_evaluation(CELL.id, f"ood/set{number}", {}, made_up_predictions(), {"by": "train"})


def test_workers_that_log_at_once_lose_no_line(store: Store) -> None:
    store.write(made_up_record(CELL), [], made_up_predictions())
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(_open_many, [str(store.root)] * 4))
    assert len(store.unsealings()) == 80


def test_a_broken_log_is_refused_by_name(store: Store) -> None:
    store.require_writable()
    (store.root / "unsealed.jsonl").write_text('{"when": "now"}\n')
    with pytest.raises(UserError, match=r"unsealed\.jsonl"):
        store.unsealings()


@pytest.fixture
def planted(store: Store) -> Store:
    plant(store, [TASK], QUICK)
    return store


def search_cell(store: Store, method: str) -> Cell:
    return next(r.cell for r in store.records() if r.cell.method == method and r.cell.seed == 0)


def test_an_orderly_folder_has_no_mark(planted: Store, tmp_path: Path) -> None:
    sources = sources_of(planted)
    assert not sources.unsealings.seen
    assert "No search cell was unsealed" in sources.unsealings.words()
    assert "each set once" in sources.unsealings.words() and "no log" not in sources.unsealings.words()
    assert all("caution" not in table or not table["caution"].astype(bool).any() for table in sources.tables().values())
    assert MARK not in build_report(planted, tmp_path).page.read_text()


def test_an_unsealed_search_cell_marks_all_that_rests_on_its_study(planted: Store, tmp_path: Path) -> None:
    cell = search_cell(planted, "car_ft")
    planted.add_evaluation(cell.id, "test", {"test/top1": 0.5}, made_up_predictions(), {"by": "train"})
    sources = sources_of(planted)
    assert sources.unsealings.seen == {cell.id}
    tasks = sources.table("tasks").set_index("method")["caution"]
    assert tasks["car_ft"] == MARK and tasks["wise_ft(car_ft)"] == MARK
    assert not tasks["ft"] and not tasks["zeroshot"]
    differences = sources.table("differences")
    marked = differences["caution"] == MARK
    assert marked.equals(differences["contrast"].str.contains("CAR-FT"))
    claims = sources.table("claims").set_index("claim")["caution"]
    assert MARK in claims["C3"] and MARK not in str(claims["C1"])
    built = build_report(planted, tmp_path)
    for path in (built.page, built.page.with_name("report.md"), built.page.with_name("tables.tex")):
        assert MARK in path.read_text()


def test_a_study_that_went_on_after_its_test_was_seen_is_marked(planted: Store) -> None:
    change_study(planted, TASK, "car_ft", extended_from={"trials": 1, "confirm": 1})
    sources = sources_of(planted)
    tasks = sources.table("tasks").set_index("method")["caution"]
    assert tasks["car_ft"] == EXTENDED and tasks["wise_ft(car_ft)"] == EXTENDED and not tasks["ft"]
    assert EXTENDED in sources.unsealings.words()


def test_a_set_that_was_opened_again_is_counted_and_a_folder_without_a_log_says_so(planted: Store) -> None:
    cell = quick_cell("zeroshot")
    planted.add_evaluation(cell.id, "test", {"test/top1": 0.5}, made_up_predictions(), {"by": "train"})
    sources = sources_of(planted)
    assert sources.unsealings.openings[cell.id]["test"] == 2
    assert "a set up to 2 times" in sources.unsealings.words()
    row = sources.table("unsealings").set_index("cell").loc[cell.id]
    assert row["most_often"] == 2 and row["by"] == "sweep train"
    shutil.rmtree(planted.root / "journal")
    before = sources_of(Store(planted.root)).unsealings
    assert "no log of unsealings" in before.words() and len(before.openings) > 0
