"""`rescore`: other classes, images and metrics after the fact; records stay; what is not stored is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.core.errors import UserError
from carft.core.metrics import Largest, Predictions, score
from carft.spec.catalog import BUILT_IN
from carft.store.records import Store
from reports.render.manifest import record_digests
from reports.rescore import METRICS, RescoreRequest, kept, rescore_to
from tests.support.helpers import TASK, made_up_predictions, run_cli
from tests.support.planted import Plan, plant

pytestmark = pytest.mark.usefixtures("few_figures")

PLAN = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.65},
    context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8},
    seeds=(1, 2),
    groups=20,
    spread=0.1,
)
EVERY = ",".join(METRICS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("rescore"))
    plant(made, [TASK], PLAN)
    return made


def request(**changes: Any) -> RescoreRequest:
    plain = {"tasks": [TASK], "sets": None, "classes": None, "images": None, "metrics": ["top1"]}
    return RescoreRequest.of(**{**plain, **changes})


def rescored(store: Store, folder: Path, **changes: Any) -> pd.DataFrame:
    rescore_to(store, request(**changes), folder)
    return pd.read_csv(folder / "rescored.csv")


def large(predictions: Predictions, count: int = 10) -> Predictions:
    """The same as a file of a large set holds them: the largest logits, the label's, and the logsumexp."""
    logits = predictions.logits
    order = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    rows = np.arange(len(logits))
    log_sum = np.log(np.exp(logits.astype(np.float64)).sum(1))
    label = logits[rows, predictions.labels]
    values = np.take_along_axis(logits, order, 1)
    largest = Largest(classes=order, values=values, label=label, log_sum=log_sum)
    return replace(predictions, logits=largest)


def test_nothing_changed_gives_the_recorded_metrics(store: Store, tmp_path: Path) -> None:
    table = rescored(store, tmp_path, metrics=list(METRICS))
    for row in table.to_dict("records"):
        recorded = store.metrics(row["cell"])
        for metric in ("top1", "mean_per_class", "loss", "context_top1"):
            assert row[metric] == pytest.approx(recorded[f"{row['set']}/{metric}"])
    assert set(table["set"]) == {"val", "test", *(f"ood/{suite}" for suite in BUILT_IN.card(TASK).suites)}
    assert set(table["note"]) == {"re-scored"}


def test_fewer_classes_are_scored_over_those_alone(store: Store, tmp_path: Path) -> None:
    classes = BUILT_IN.card(TASK).classes[1:4]
    table = rescored(store, tmp_path, classes=",".join(classes), sets=["test"])
    for row in table.to_dict("records"):
        p = store.predictions(row["cell"], "test")
        here = np.isin(p.labels, [1, 2, 3])
        expected = np.mean(p.logits[here][:, 1:4].argmax(1) == p.labels[here] - 1)
        assert (row["top1"], row["images"], row["classes"]) == (pytest.approx(expected), here.sum(), 3)


def test_images_by_pattern_and_by_file(store: Store, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("drawing-3\ndrawing-4\n")
    by_file = rescored(store, tmp_path / "a", images=str(names), sets=["test"])
    by_pattern = rescored(store, tmp_path / "b", images="drawing-[34]", sets=["test"])
    pd.testing.assert_frame_equal(by_file, by_pattern)
    assert set(by_file["images"]) == {4} and set(by_file["groups"]) == {2}


def test_interpolations_are_not_mixed_with_those_of_another_method(store: Store, tmp_path: Path) -> None:
    rescore_to(store, request(sets=["test"]), tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert {"wise_ft(ft)", "wise_ft(car_ft)"} <= set(summary["method"])
    assert summary.loc[summary["method"] != "zeroshot", "seeds"].eq(2).all()


def test_records_stay_as_they_are(store: Store, tmp_path: Path) -> None:
    before = record_digests(store)
    rescore_to(store, request(classes=BUILT_IN.card(TASK).classes[0]), tmp_path)
    assert record_digests(store) == before
    with pytest.raises(UserError, match="lies in the results folder"):
        rescore_to(store, request(), store.root / "rescored")


def test_what_was_changed_is_written_down(store: Store, tmp_path: Path) -> None:
    found = rescore_to(store, request(classes=",".join(BUILT_IN.card(TASK).classes[:2]), sets=["test"]), tmp_path)
    content = json.loads((tmp_path / "rescored.json").read_text())
    assert content["re-scored"] == found.changed
    assert "2 classes" in found.changed and "Not what the cells recorded" in found.changed
    assert content["request"]["sets"] == ["test"]
    assert content["predictions"].items() <= record_digests(store).items()


@given(st.integers(0, 10_000))
def test_the_largest_logits_suffice_for_what_they_suffice_for(seed: int) -> None:
    full = made_up_predictions(count=20, classes=12, contexts=3, seed=seed)
    everything, rows = np.ones(20, dtype=bool), large(full)
    for name, metric in METRICS.items():
        expected = metric(kept(full, everything, None, "here"))
        assert metric(kept(rows, everything, None, "here")) == pytest.approx(expected), name
    assert METRICS["loss"](kept(full, everything, None, "here")) == pytest.approx(score(full)["loss"])
    some = np.arange(2, 12)  # with ten of twelve known, at least eight of these are
    fewer = np.isin(full.labels, some)
    for name in ("top1", "top5", "mean_per_class", "worst_class"):
        expected = METRICS[name](kept(full, fewer, some, "here"))
        assert METRICS[name](kept(rows, fewer, some, "here")) == pytest.approx(expected), name


@pytest.mark.parametrize("metric", ["top1", "loss", "ece", "top5"])
def test_what_the_largest_logits_cannot_say_is_refused(metric: str) -> None:
    full = made_up_predictions(count=200, classes=40, contexts=3)
    view = kept(large(full), np.ones(200, dtype=bool), np.arange(6), "cell f00, test")
    with pytest.raises(UserError, match="cell f00, test hold only the largest logits"):
        METRICS[metric](view)


def test_calibration_error_of_known_answers() -> None:
    logits = np.log(np.array([[0.8, 0.2]] * 10, dtype=np.float32))
    labels = np.array([0] * 6 + [1] * 4)
    made = Predictions([""] * 10, [""] * 10, labels, np.full(10, -1), logits, np.zeros((10, 1), np.float32))
    assert METRICS["ece"](kept(made, np.ones(10, dtype=bool), None, "here")) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["icons/transprt"]}, "Did you mean icons/transport"),
        ({"metrics": ["top2"]}, "no metric 'top2'"),
        ({"metrics": []}, "No metric"),
        ({"classes": "carr"}, "no class of icons/transport"),
        ({"sets": ["ood/hand"]}, "Did you mean ood/hands"),
        ({"images": "nothing-*"}, "Nothing is left"),
        ({"classes": " , "}, "names nothing"),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    store: Store, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        rescore_to(store, request(**changes), tmp_path)


def test_the_command_prints_what_it_wrote(store: Store, tmp_path: Path) -> None:
    options = ("--results", store.root, "--out", tmp_path, "--sets", "test", "--metrics", EVERY, "--json")
    printed = json.loads(run_cli("rescore", *options).stdout)
    assert {Path(p).name for p in printed["paths"]} == {"rescored.csv", "summary.csv", "rescored.json"}
    assert set(METRICS) <= set(printed["rows"][0])
