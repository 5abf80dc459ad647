"""Features of the pretrained model are paid for once, and nobody can tell from the numbers."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carft.core.array_cache import STALE_SECONDS, ArrayCache
from carft.training.checkpoint import Checkpoints
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import Computed, compute
from tests.support.helpers import LR, quick_cell

CELL = quick_cell("car_ft", epochs=2, lr=LR, kl_weight=1.0)
FLOAT = np.dtype("float32")


def cached(bench: CellContext, folder: Path, **settings) -> CellContext:
    return replace(bench, execution=Execution(feature_cache=str(folder), **settings))


def same(first: Computed, second: Computed) -> bool:
    return first.history == second.history and np.array_equal(first.predictions.logits, second.predictions.logits)


def test_a_first_and_a_later_run_have_the_same_bits_and_those_of_no_store(bench: CellContext, tmp_path: Path) -> None:
    cold = compute(CELL, cached(bench, tmp_path))
    written = sorted((p.name, p.stat().st_size) for p in tmp_path.iterdir())
    assert len(written) == CELL.training.epochs
    warm = compute(CELL, cached(bench, tmp_path))
    assert same(cold, warm)
    assert same(cold, compute(CELL, bench))
    assert sorted((p.name, p.stat().st_size) for p in tmp_path.iterdir()) == written


def test_a_later_run_does_not_ask_the_pretrained_model(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(CELL, cached(bench, tmp_path))
    monkeypatch.setattr("carft.training.feature_cache.FeatureCache.forward", None)
    compute(CELL, cached(bench, tmp_path))


def test_trials_methods_and_readings_of_a_seed_share_their_features(bench: CellContext, tmp_path: Path) -> None:
    first = quick_cell("car_ft", lr=LR, kl_weight=1.0)
    compute(first, cached(bench, tmp_path))
    one = list(tmp_path.iterdir())
    reading = replace(first.reading, kl_direction="symmetric", context_temperature=2.0)
    for other in (
        quick_cell("car_ft", lr=1e-4, kl_weight=5.0),
        replace(first, reading=reading),
        quick_cell("feature_kd", lr=LR, distance_weight=1.0),
    ):
        compute(other, cached(bench, tmp_path))
        assert list(tmp_path.iterdir()) == one
    compute(quick_cell("car_ft", seed=1, lr=LR, kl_weight=1.0), cached(bench, tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


def test_plain_fine_tuning_keeps_nothing(bench: CellContext, tmp_path: Path) -> None:
    compute(quick_cell("ft", lr=LR), cached(bench, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_half_the_space_agrees_to_a_thousandth(bench: CellContext, tmp_path: Path) -> None:
    cell = quick_cell("car_ft", lr=LR, kl_weight=1.0)
    half = compute(cell, cached(bench, tmp_path, feature_dtype="float16"))
    assert abs(half.history[0]["train/loss"] - compute(cell, bench).history[0]["train/loss"]) <= 1e-3
    assert same(half, compute(cell, cached(bench, tmp_path, feature_dtype="float16")))


@pytest.mark.parametrize("spoil", ["truncate", "flip", "garbage"])
def test_a_torn_entry_is_computed_again(bench: CellContext, tmp_path: Path, spoil: str) -> None:
    cell = quick_cell("car_ft", lr=LR, kl_weight=1.0)
    expected = compute(cell, cached(bench, tmp_path))
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-5] ^= 1
    path.write_bytes({"truncate": content[:-100], "flip": bytes(flipped), "garbage": b"no array"}[spoil])
    assert same(expected, compute(cell, cached(bench, tmp_path)))


def test_an_epoch_that_was_not_finished_is_not_kept(bench: CellContext, tmp_path: Path) -> None:
    store = ArrayCache(tmp_path)
    values = store.open("key-0", 4, 2, FLOAT)
    values[:2] = 1
    assert store.read("key-0", 4, 2, FLOAT) is None
    store.discard(values)
    assert list(tmp_path.iterdir()) == []


def test_writers_of_one_entry_do_each_other_no_harm(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path)

    def write() -> None:
        values = store.open("key-0", 50, 8, FLOAT)
        for row in range(50):
            values[row] = row
            time.sleep(0.0002)
        store.commit("key-0", values)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.iterdir())) == 1
    found = store.read("key-0", 50, 8, FLOAT)
    assert found is not None and np.array_equal(found[:, 0], np.arange(50))


def test_the_store_stays_below_its_limit_and_drops_what_was_not_used_for_longest(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path, limit=10_000)
    for number in range(3):
        store.commit(f"key-{number}", store.open(f"key-{number}", 100, 8, FLOAT))
        os.utime(next(tmp_path.glob(f"key-{number}-*")), (number, number))
    assert store.read("key-0", 100, 8, FLOAT) is not None  # used now
    store.commit("key-3", store.open("key-3", 100, 8, FLOAT))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000 + 3 * 128
    assert {path.name[:5] for path in tmp_path.iterdir()} == {"key-0", "key-2", "key-3"}


def test_the_litter_of_dead_writers_is_swept(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path)
    store.open("key-0", 4, 2, FLOAT)
    (dead,) = tmp_path.iterdir()
    long_ago = time.time() - STALE_SECONDS - 10
    os.utime(dead, (long_ago, long_ago))
    store.commit("key-1", store.open("key-1", 4, 2, FLOAT))
    assert [path.name[:5] for path in tmp_path.iterdir()] == ["key-1"]


@pytest.mark.parametrize("warm", [False, True])
def test_a_training_resumes_within_an_epoch_with_the_same_bits(bench: CellContext, tmp_path: Path, warm: bool) -> None:
    """With a cache that holds the features of the epoch, and with an empty one, which stores no part of an epoch."""
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", every=3)
    whole = compute(CELL, cached(bench, tmp_path / "first"), checkpoints)
    assert len(whole.history) // CELL.training.epochs % 3 and len(whole.history) % 3
    resumed = compute(CELL, cached(bench, tmp_path / ("first" if warm else "second")), checkpoints)
    assert same(whole, resumed)
    assert list(tmp_path.glob("second/*")) == []
