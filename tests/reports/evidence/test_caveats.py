"""What a reader must know of the cells behind a number stands beside the number, everywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from carft.config.catalog import BUILT_IN
from carft.data.checking import UNREADABLE
from carft.store.records import Store
from reports.build import build_report, sources_of
from reports.evidence.caveats import (
    FAILED,
    FIXTURE,
    LEFT_OUT,
    ONE_TEMPLATE,
    UNATTESTED,
    UNTRAINED_START,
    caution_words,
)
from tests.support.helpers import run_cli
from tests.support.planted import Plan, plant, planted

pytestmark = pytest.mark.usefixtures("few_figures")

TASK = "icons/transport"
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
        ("unknown", UNATTESTED),
        ("no: Images that cannot be read: a.png.", LEFT_OUT),
        (f"no: {UNREADABLE}: 2, left out", LEFT_OUT),
        pytest.param("no: fixture", FIXTURE, marks=pytest.mark.full),
        pytest.param("no: 3 images are missing", FAILED, marks=pytest.mark.full),
    ],
)
def test_unattested_data_are_marked_in_every_table_and_on_every_page(
    store: Store, tmp_path: Path, attested: str, caution: str
) -> None:
    plant(store, [TASK], PLAN)
    say(store, "car_ft", attested)
    sources = sources_of(store)
    tasks = sources.table("tasks").set_index("method")["caution"]
    assert caution in tasks["car_ft"] and not tasks["ft"]
    for name in ("claims", "verdicts", "differences", "trials", "cells", "robustness"):
        assert sources.table(name)["caution"].str.contains(caution, regex=False).any(), name
    built = build_report(store, tmp_path / "report")
    for page in (built.page, built.page.with_name("report.md"), built.page.with_name("tables.tex")):
        assert caution in page.read_text(encoding="utf-8")


def test_a_constant_context_distribution_is_marked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = replace(BUILT_IN.card(TASK), banks={**BUILT_IN.card(TASK).banks, "standard": ("a photo of a {}.",)})
    monkeypatch.setitem(BUILT_IN.family(TASK).cards, TASK, alone)
    planted(store, [TASK], PLAN)
    tasks = sources_of(store).table("tasks").set_index("method")["caution"]
    assert tasks["car_ft"] == ONE_TEMPLATE and not tasks["ft"]


def test_a_caution_is_said_once() -> None:
    known = {"a": (FIXTURE,), "b": (UNTRAINED_START, FIXTURE)}
    assert caution_words(["a", "b", "c"], known) == f"{FIXTURE}; {UNTRAINED_START}"
    assert caution_words(["c"], known) == ""


@pytest.mark.slow
@pytest.mark.full
def test_the_paper_s_model_takes_steps_on_a_fixture_and_is_marked(tmp_path: Path) -> None:
    """ViT-B/16 at 224 pixels with weights that nobody trained, on a fake CIFAR-10."""
    data, results = tmp_path / "data", tmp_path / "results"
    assert run_cli("data", "fixture", "cifar10", "--data", data).returncode == 0
    train = ("train", "--task", "cifar10", "--data", data, "--model", "ViT-B-16", "--method", "car_ft", "--lr", "1e-5")
    more = ("--kl-weight", 1, "--epochs", 1, "--batch-size", 8, "--context-templates", "own", "--results", results)
    refused = run_cli(*train, *more, "--pretrained", "random")
    assert refused.returncode == 2 and "--random-weights" in refused.stderr
    done = run_cli(*train, *more, "--random-weights")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "random weights. No number of this run means anything" in said and "fixtures, no real image" in said
    (record,) = Store(results).records()
    assert record.cell.pretrained == "random" and record.metrics["train/kl"] >= 0
    assert len(pd.read_parquet(Store(results).folder(record.id) / "history.parquet")) > 1
