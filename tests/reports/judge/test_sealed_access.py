"""The seal: every opening is logged, and numbers that were seen before selection are marked in every table."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from carft.catalog.catalog import BUILT_IN
from carft.data.checking import UNREADABLE
from carft.posthoc.wise_ft import run_curve
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from reports.judge.caveats import EXTENDED, ONE_TEMPLATE
from reports.render.tables.table import make_tables
from sweeps.faults.storage import LOCK
from sweeps.ray_backend.jobs import payload_of, run_payload
from sweeps.search.protocol import Job
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_record, quick_cell, run_cli
from tests.support.planted import QUICK, Plan, change_study, plant, planted
from tests.support.reading import judged_of, table_of

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
    message = payload_of(Job("confirm", other), str(store.root), Execution(), start="a sweep", catalog=BUILT_IN)
    assert run_payload(message) == {"failure": ""}
    assert {(line.cell, line.by) for line in store.unsealings()} == {(other.id, "sweep")}


def _open_many(root: str, sets: range) -> None:
    store = Store(root)
    for number in sets:
        store.add_evaluation(CELL.id, f"ood/set{number}", {}, made_up_predictions(), {"by": "train"})


def test_workers_that_log_at_once_lose_no_line(store: Store) -> None:
    store.write(made_up_record(CELL), [], made_up_predictions())
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(_open_many, [str(store.root)] * 4, [range(first, first + 20) for first in (0, 20, 40, 60)]))
    assert len(store.unsealings()) == 80


@pytest.fixture
def orderly(store: Store) -> Store:
    plant(store, [TASK], QUICK, curves=True)
    return store


def test_an_orderly_folder_has_no_mark(orderly: Store) -> None:
    sources = judged_of(orderly)
    assert "each set once" in sources.unsealings.words and "no log" not in sources.unsealings.words
    assert all(
        "caution" not in table or not table["caution"].astype(bool).any() for table in make_tables(sources).values()
    )


def test_a_study_that_went_on_after_its_test_was_seen_is_marked(orderly: Store) -> None:
    change_study(orderly, TASK, "car_ft", extended_from={"trials": 1, "confirm": 1})
    sources = judged_of(orderly)
    tasks = table_of(sources, "tasks").set_index("method")["caution"]
    assert tasks["car_ft"] == EXTENDED and tasks["wise_ft(car_ft)"] == EXTENDED and not tasks["ft"]
    assert EXTENDED in sources.unsealings.words


def test_a_set_that_was_opened_again_is_counted_and_a_folder_without_a_log_says_so(orderly: Store) -> None:
    cell = quick_cell("zeroshot")
    orderly.add_evaluation(cell.id, "test", {"test/top1": 0.5}, made_up_predictions(), {"by": "train"})
    sources = judged_of(orderly)
    assert sources.unsealings.openings[cell.id]["test"] == 2
    assert "a set up to 2 times" in sources.unsealings.words
    shutil.rmtree(orderly.root / "journal")
    before = judged_of(Store(orderly.root)).unsealings
    assert "no log of unsealings" in before.words and len(before.openings) > 0


PLAN = Plan({"zeroshot": 0.6, "ft": 0.7, "car_ft": 0.7}, {"zeroshot": 0.9, "ft": 0.7, "car_ft": 0.9})


def say(store: Store, method: str, attested: str) -> None:
    """Change what the records of a method say of their data."""
    for record in store.records():
        if record.cell.method == method:
            path = store.folder(record.id) / "record.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            content["provenance"]["digests"]["attested"] = attested
            path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("attested", "caution"),
    [
        ("unknown", "data not attested"),
        ("no: Images that cannot be read: a.png.", "images that cannot be read are left out"),
        (f"no: {UNREADABLE}: 2, left out", "images that cannot be read are left out"),
        ("no: fixture", "fixture: no real image"),
        ("no: 3 images are missing", "data fail attestation"),
    ],
)
def test_what_a_record_says_of_its_data_marks_its_method_alone(store: Store, attested: str, caution: str) -> None:
    plant(store, [TASK], PLAN)
    say(store, "car_ft", attested)
    tasks = table_of(judged_of(store), "tasks").set_index("method")["caution"]
    assert caution in tasks["car_ft"] and not tasks["ft"]


def test_a_constant_context_distribution_is_marked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = replace(BUILT_IN.card(TASK), banks={**BUILT_IN.card(TASK).banks, "standard": ("a photo of a {}.",)})
    monkeypatch.setitem(BUILT_IN.family(TASK).cards, TASK, alone)
    planted(store, [TASK], PLAN)
    tasks = table_of(judged_of(store), "tasks").set_index("method")["caution"]
    assert tasks["car_ft"] == ONE_TEMPLATE and not tasks["ft"]


@pytest.mark.slow
@pytest.mark.full
def test_the_paper_s_model_takes_steps_on_a_fixture_and_is_marked(tmp_path: Path) -> None:
    """ViT-B/16 at 224 pixels with weights that nobody trained, on a fake CIFAR-10."""
    data, results = tmp_path / "data", tmp_path / "results"
    assert run_cli("data", "check", "cifar10", "--fake", "--data", data).returncode == 0
    train = ("train", "--task", "cifar10", "--data", data, "--model", "ViT-B-16", "--method", "car_ft", "--lr", "1e-5")
    more = ("--kl-weight", 1, "--epochs", 1, "--batch-size", 8, "--context-templates", "own", "--results", results)
    done = run_cli(*train, *more, "--pretrained", "random")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "random weights. No number of this run means anything" in said
    (record,) = Store(results).records()
    assert record.cell.pretrained == "random" and record.metrics["train/kl"] >= 0
    assert len(pd.read_parquet(Store(results).folder(record.id) / "history.parquet")) > 1
