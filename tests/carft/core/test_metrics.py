"""Metrics against known answers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from carft.core.metrics import (
    KEPT,
    Frame,
    Largest,
    Outcomes,
    Predictions,
    macro_accuracy,
    negative_log_likelihood,
    ood_means,
    score,
    score_classes,
    with_prefix,
)
from carft.store.records import Store

LABELS = np.array([0, 0, 0, 1])
PREDICTED = np.array([0, 0, 1, 1])


def top1(predicted: np.ndarray, labels: np.ndarray) -> float:
    frame = Frame(pa.nulls(len(labels)), labels, labels, labels, np.full(len(labels), -1))
    return score_classes(Outcomes(frame, predicted, predicted))["top1"]


def test_top1_counts_images_and_macro_counts_classes() -> None:
    """Three of four images are right; two thirds of class 0 and all of class 1."""
    assert top1(PREDICTED, LABELS) == 0.75
    assert macro_accuracy(PREDICTED, LABELS) == pytest.approx((2 / 3 + 1) / 2)
    assert macro_accuracy(np.array([7, 7]), np.array([7, 3])) == 0.5


def test_cross_entropy_has_the_value_worked_out_by_hand() -> None:
    """ln 4 for equal logits; ln(1 + 1/3) where the label has three times the other's probability."""
    assert negative_log_likelihood(np.zeros((2, 4), np.float32), np.array([0, 3])).mean() == pytest.approx(1.3862944)
    logits = np.log(np.array([[3.0, 1.0]])).astype(np.float32)
    assert negative_log_likelihood(logits, np.array([0]))[0] == pytest.approx(0.2876821)


def test_a_score_holds_every_metric_and_leaves_unknown_contexts_out() -> None:
    predictions = Predictions(
        images=["a", "b", "c", "d"],
        groups=["a", "b", "c", "d"],
        labels=LABELS,
        contexts=np.array([0, 1, -1, 1]),
        logits=np.eye(2, dtype=np.float32)[PREDICTED],
        context_logits=np.eye(2, dtype=np.float32)[[0, 1, 0, 0]],
    )
    found = score(predictions)
    assert set(found) == {"top1", "mean_per_class", "loss", "context_top1"}
    assert found["top1"] == 0.75
    assert found["context_top1"] == pytest.approx((1 + 1 / 2) / 2)


def test_means_over_suites_are_unweighted_and_leave_the_test_set_out() -> None:
    metrics = {
        "test/top1": 1.0,
        "val/top1": 1.0,
        "ood/hands/top1": 0.2,
        "ood/sketches/top1": 0.4,
        "ood/hands/mean_per_class": 0.1,
        "ood/sketches/mean_per_class": 0.5,
        "ood/hands/context_top1": 0.9,
    }
    expected = {"ood/mean/top1": 0.3, "ood/mean/mean_per_class": 0.3, "ood/context_top1": 0.9}
    assert ood_means(metrics) == pytest.approx(expected)
    assert ood_means({**metrics, **ood_means(metrics)}) == pytest.approx(expected)
    assert ood_means({"val/top1": 1.0, "test/top1": 1.0}) == {}


def test_metrics_of_a_record_are_those_of_its_predictions(finished: Store) -> None:
    """Scoring the kept predictions again gives every recorded number."""
    for cell in finished.ids():
        again: dict[str, float] = {}
        for name in ("val", *finished.evaluated(cell)):
            again.update(with_prefix(name, score(finished.predictions(cell, name))))
        recorded = {k: v for k, v in finished.metrics(cell).items() if not k.startswith("train/")}
        assert recorded == pytest.approx({**again, **ood_means(again)}, rel=1e-12)


def spread(images: int, classes: int, subset: tuple[int, ...] | None) -> Predictions:
    """Predictions with logits as of a network."""
    rng = np.random.default_rng(0)
    labels = rng.choice(np.arange(classes) if subset is None else np.asarray(subset), images)
    logits = rng.normal(0, 5, (images, classes)).astype(np.float32)
    names = [str(number) for number in range(images)]
    return Predictions(names, names, labels, np.full(images, -1), logits, np.zeros((images, 1), np.float32), subset)


def at_once(p: Predictions) -> tuple[np.ndarray, ...]:
    """What all rows together give: classes, log-likelihoods, classes and values of the largest logits."""
    assert isinstance(p.logits, np.ndarray)
    classes = np.arange(p.logits.shape[1]) if p.subset is None else np.asarray(p.subset)
    scored = p.logits if p.subset is None else p.logits[:, classes]
    wide = scored.astype(np.float64)
    peak = wide.max(1, keepdims=True)
    log_sum = peak[:, 0] + np.log(np.exp(wide - peak).sum(1))
    likelihood = -(log_sum - wide[np.arange(len(wide)), np.searchsorted(classes, p.labels)])
    best = np.argsort(-scored, axis=1, kind="stable")[:, :KEPT]
    return classes[scored.argmax(1)], likelihood, classes[best], np.take_along_axis(scored, best, 1)


@pytest.mark.parametrize("subset", [None, tuple(range(0, 700, 3))])
@pytest.mark.parametrize("images", [1, 750, 1001])
def test_rows_in_parts_have_the_bits_of_all_rows_at_once(images: int, subset: tuple[int, ...] | None) -> None:
    """Two parts are of 375 rows of 700 logits."""
    p = spread(images, 700, subset)
    condensed = p.condensed()
    assert isinstance(condensed.logits, Largest)
    found = p.predicted, p.log_likelihood, condensed.logits.classes, condensed.logits.values
    for part, whole in zip(found, at_once(p), strict=True):
        assert np.array_equal(part, whole)


@pytest.mark.parametrize("subset", [None, tuple(range(900))])
def test_scoring_and_condensing_take_little_memory_beside_the_logits(subset: tuple[int, ...] | None) -> None:
    p = spread(8000, 1000, subset)  # 32 MB
    tracemalloc.start()
    try:
        score(p)
        p.condensed()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * 2**20
