"""Calibration against planted truth: a calibrated model has no error, an overconfident one what was planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carft.core.metrics import Predictions
from carft.store.archive import pack, unpack
from carft.store.records import Store
from reports.analysis.calibration_error import BINS, gaps
from reports.build import sources_of
from tests.support.planted import QUICK, plant

REPEATS = 100


def simulated(excess: float, images: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, hits and groups of two images; the model is right less often than it says, by this excess."""
    confidence = rng.uniform(0.3, 0.99, images // 2).repeat(2)
    is_right = rng.uniform(size=images // 2).repeat(2) < confidence - excess  # the images of a group are right together
    return confidence, is_right, np.arange(images // 2).repeat(2)


def plain_error(confidence: np.ndarray, is_right: np.ndarray) -> float:
    """The usual expected calibration error, in the same bins."""
    error = 0.0
    for members in np.array_split(np.argsort(confidence, kind="stable"), BINS):
        error += abs((confidence[members] - is_right[members]).sum()) / len(confidence)
    return error


@pytest.mark.parametrize(("excess", "images"), [(0.0, 400), (0.2, 4000)])
def test_the_error_is_that_which_was_planted_although_images_come_in_groups(excess: float, images: int) -> None:
    rng = np.random.default_rng(0)
    found, plain = [], []
    for _ in range(REPEATS):
        made = simulated(excess, images, rng)
        found.append(float(gaps(*made).mean()))
        plain.append(plain_error(*made[:2]))
    assert np.mean(found) == pytest.approx(excess, abs=0.012)
    if not excess:
        assert np.mean(plain) > 0.05  # what is left of noise without the correction


def test_confidence_is_that_of_the_scored_classes_also_where_the_largest_logits_alone_are_kept() -> None:
    logits = np.log(np.tile([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], (1, 5))).astype(np.float32)
    blank = np.zeros(2, np.int64)
    whole = Predictions(["a", "b"], ["a", "b"], blank, blank - 1, logits, np.zeros((2, 1), np.float32), (0, 1))
    assert whole.confidence == pytest.approx([2 / 3, 2 / 3])
    assert whole.condensed().confidence == pytest.approx(whole.confidence)


def table_of(store: Store) -> pd.DataFrame:
    made = sources_of(store).table("calibration")
    return made.set_index(["place", "method"])


def test_the_table_has_error_and_loss_with_intervals_and_a_compact_archive_says_that_none_are_kept(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "results")
    plant(store, ["icons-3/mix-7", "icons-3/mix-1"], QUICK)
    whole = table_of(store)
    assert set(whole["logits"]) == {"kept"} and {place for place, _ in whole.index} == {"ID test", "mean OOD"}
    ft = whole.loc["ID test", "ft"]
    losses = []
    for cell in ft["cells"].split():
        losses.append(store.evaluations(cell)["test"].metrics["test/loss"])
    assert ft["loss"] == pytest.approx(np.mean(losses))
    assert ft["loss_low"] < ft["loss"] < ft["loss_high"] and ft["low"] < ft["error"] < ft["high"]
    pack(store, tmp_path / "small.zip", compact=True)
    unpack(tmp_path / "small.zip", tmp_path / "small")
    compact = table_of(Store(tmp_path / "small"))
    assert list(compact.index) == list(whole.index) and set(compact["logits"]) == {"not kept"}
    assert compact[["error", "low", "high", "loss"]].isna().all(axis=None)
