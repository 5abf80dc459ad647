"""Features of the pretrained model are paid for once, and nobody can tell from the numbers."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from carft.core.array_cache import GIB, IDLE_SECONDS, ArrayCache
from carft.data import image_files
from carft.data.reference_views import EVAL_VIEWS
from carft.data.task import ImageSet
from carft.store.records import Store
from carft.training.checkpoint import Checkpoints
from carft.training.context import CellContext, cached_views
from carft.training.execution import FEATURE_SHARE, Execution
from carft.training.feature_cache import FeatureCache
from carft.training.run import Computed, compute, write
from tests.carft.training.test_execution import as_files
from tests.support.helpers import LR, environment, quick_cell

CELL = quick_cell("car_ft", epochs=2, lr=LR, kl_weight=1.0)
FLOAT = np.dtype("float32")


def cached(bench: CellContext, folder: Path, **settings) -> CellContext:
    return replace(bench, execution=Execution(feature_cache=str(folder), **settings))


def same(first: Computed, second: Computed) -> bool:
    return first.history == second.history and np.array_equal(first.predictions.logits, second.predictions.logits)


def test_a_later_run_asks_no_pretrained_model_and_has_the_bits_of_the_first_and_of_no_store(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, cold = compute(CELL, bench), compute(CELL, cached(bench, tmp_path))
    written = sorted((p.name, p.stat().st_size) for p in tmp_path.glob("*-*"))
    assert len(written) == CELL.training.epochs
    monkeypatch.setattr("carft.training.feature_cache.FeatureCache.forward", None)
    warm = compute(CELL, cached(bench, tmp_path))
    assert same(cold, alone) and same(warm, alone)
    assert sorted((p.name, p.stat().st_size) for p in tmp_path.glob("*-*")) == written


def test_trials_methods_and_readings_of_a_seed_share_their_features(bench: CellContext, tmp_path: Path) -> None:
    first = quick_cell("car_ft", lr=LR, kl_weight=1.0)
    compute(first, cached(bench, tmp_path))
    one = list(tmp_path.glob("*-*"))
    reading = replace(first.reading, kl_direction="symmetric", context_temperature=2.0)
    for other in (
        quick_cell("car_ft", lr=1e-4, kl_weight=5.0),
        replace(first, reading=reading),
        quick_cell("feature_kd", lr=LR, distance_weight=1.0),
    ):
        compute(other, cached(bench, tmp_path))
        assert list(tmp_path.glob("*-*")) == one
    compute(quick_cell("car_ft", seed=1, lr=LR, kl_weight=1.0), cached(bench, tmp_path))
    assert len(list(tmp_path.glob("*-*"))) == 2


def test_a_torn_entry_is_computed_again(bench: CellContext, tmp_path: Path) -> None:
    cell = quick_cell("car_ft", lr=LR, kl_weight=1.0)
    expected = compute(cell, cached(bench, tmp_path))
    (path,) = tmp_path.glob("*-*")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert same(expected, compute(cell, cached(bench, tmp_path)))


def put(store: ArrayCache, entry: str, rows: int = 100) -> bool:
    """Store zeros of ``rows`` times 32 bytes, if they fit."""
    if (draft := store.open(entry, rows, 8, FLOAT)) is None:
        return False
    store.commit(draft)
    return True


def age(folder: Path, pattern: str, seconds: float) -> None:
    for path in folder.glob(pattern):
        when = time.time() - seconds
        os.utime(path, (when, when))


def names(folder: Path) -> set[str]:
    return {path.name.rpartition("-")[0] for path in folder.glob("*-*")}


def test_an_epoch_that_was_not_finished_is_not_kept(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path)
    draft = store.open("key-0", 4, 2, FLOAT)
    assert draft is not None
    draft.values[:2] = 1
    assert store.read("key-0", 4, 2, FLOAT) is None
    store.discard(draft)
    assert list(tmp_path.glob("*-*")) == []


def test_one_of_several_writers_of_an_entry_writes_it(tmp_path: Path) -> None:
    store, wrote = ArrayCache(tmp_path), []

    def write() -> None:
        if (draft := store.open("key-0", 50, 8, FLOAT)) is None:
            return
        for row in range(50):
            draft.values[row] = row
            time.sleep(0.0002)
        store.commit(draft)
        wrote.append(1)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrote and len(list(tmp_path.glob("*-*"))) == 1
    found = store.read("key-0", 50, 8, FLOAT)
    assert found is not None and np.array_equal(found.values[:, 0], np.arange(50))


def test_a_cyclic_scan_larger_than_the_cache_hits_what_fits(tmp_path: Path) -> None:
    """Where the least recently used file goes, the second scan finds nothing: each epoch goes before its turn."""
    store, hits = ArrayCache(tmp_path, limit=11_000), []
    for _ in range(3):
        found = [store.read(f"key-{epoch}", 100, 8, FLOAT) is not None for epoch in range(4)]
        for epoch in [epoch for epoch, hit in enumerate(found) if not hit]:
            put(store, f"key-{epoch}")
        hits.append(sum(found))
    assert hits == [0, 3, 3]
    assert sum(path.stat().st_size for path in tmp_path.glob("*-*")) <= store.limit


def test_files_that_nothing_used_for_a_day_make_space_and_others_do_not(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path, limit=11_000)
    assert put(store, "old-0") and put(store, "old-1") and put(store, "new-0")
    assert not put(store, "new-1")
    age(tmp_path, "old-0-*", IDLE_SECONDS + 60)
    assert put(store, "new-1") and names(tmp_path) == {"old-1", "new-0", "new-1"}
    age(tmp_path, "old-1-*", IDLE_SECONDS + 60)
    assert store.read("old-1", 100, 8, FLOAT) is not None  # used now
    assert not put(store, "new-2")


def test_what_cannot_fit_removes_nothing(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path, limit=11_000)
    assert put(store, "old-0")
    age(tmp_path, "old-*", IDLE_SECONDS + 60)
    assert not put(store, "new-0", rows=1000) and names(tmp_path) == {"old-0"}


def test_files_that_are_being_written_count(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path, limit=11_000)
    drafts = [store.open(f"key-{number}", 100, 8, FLOAT) for number in range(4)]
    assert [draft is not None for draft in drafts] == [True, True, True, False]
    assert sum(path.stat().st_size for path in tmp_path.glob("*-*")) <= store.limit


def test_the_file_of_a_writer_that_died_is_removed_and_that_of_a_live_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on NFS, which locks only files that are open for writing."""
    flock = fcntl.flock

    def on_nfs(file: int, how: int) -> None:
        if not fcntl.fcntl(file, fcntl.F_GETFL) & os.O_RDWR:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(file, how)

    script = "import sys, numpy, pathlib; from carft.core.array_cache import ArrayCache; " + (
        "kept = ArrayCache(pathlib.Path(sys.argv[1])).open('key-0', 4, 2, numpy.dtype('float32')); import os; "
    )
    subprocess.run([sys.executable, "-c", script + "os._exit(1)", str(tmp_path)], env=environment(), check=False)
    (dead,) = tmp_path.glob("*-*")
    monkeypatch.setattr(fcntl, "flock", on_nfs)
    store = ArrayCache(tmp_path)
    live = store.open("key-0", 4, 2, FLOAT)
    assert live is not None and list(tmp_path.glob("*-*")) == [live.path] and live.path != dead
    assert put(store, "key-1") and live.path.exists() and store.open("key-0", 4, 2, FLOAT) is None


def test_the_record_states_the_hit_rate(bench: CellContext, tmp_path: Path) -> None:
    """Two epochs of which one fits: from the second cell on it is read, and the numbers are those of no cache."""
    count, width = len(bench.task.train), bench.pretrained.width
    limit = 1.5 * count * width * 4 / FEATURE_SHARE / GIB
    context, alone, rates = cached(bench, tmp_path / "cache", feature_cache_size=limit), compute(CELL, bench), []
    for number in range(3):
        computed, store = compute(CELL, context), Store(tmp_path / str(number))
        write(CELL, computed, context, store, keep_weights=False)
        rates.append(store.read(CELL.id).provenance["feature_cache"])
        assert same(computed, alone)
    assert rates == [{"images": 2 * count, "hit_rate": rate} for rate in (0, 0.5, 0.5)]


def test_a_cell_that_stores_nothing_reads_what_others_stored(bench: CellContext, tmp_path: Path) -> None:
    compute(CELL, cached(bench, tmp_path, feature_writes=False))
    assert list(tmp_path.glob("*-*")) == []
    compute(CELL, cached(bench, tmp_path))
    assert compute(CELL, cached(bench, tmp_path, feature_writes=False)).features["hit_rate"] == 1


def test_another_processor_has_other_features(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = FeatureCache(CELL, cached(bench, tmp_path)).key
    monkeypatch.setattr("carft.training.execution.hardware_facts", lambda device: {"gpu": "another"})
    gpu = cached(bench, tmp_path, device="cuda")
    found = FeatureCache(CELL, gpu).key
    monkeypatch.setattr("carft.training.execution.hardware_facts", lambda device: {"gpu": "a third"})
    assert len({here, found, FeatureCache(CELL, gpu).key}) == 3


def test_a_folder_that_cannot_be_written_is_read(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compute(CELL, cached(bench, tmp_path))
    next(tmp_path.glob("*-1-*")).unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("carft.core.array_cache.os.utime", refuse)
    monkeypatch.setattr(ArrayCache, "open", refuse)
    second = compute(CELL, cached(bench, tmp_path))
    assert same(first, second) and second.features["hit_rate"] == 0.5


def test_a_training_resumes_within_an_epoch_with_the_same_bits(bench: CellContext, tmp_path: Path) -> None:
    """An empty cache stores no part of an epoch."""
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", every=3)
    whole = compute(CELL, cached(bench, tmp_path / "first"), checkpoints)
    assert len(whole.history) // CELL.training.epochs % 3 and len(whole.history) % 3
    assert same(whole, compute(CELL, cached(bench, tmp_path / "second"), checkpoints))
    assert list(tmp_path.glob("second/*")) == []


SIDE = 40


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded."""
    found: list[Path] = []
    decode = image_files.decode
    monkeypatch.setattr(image_files, "decode", lambda path, border=0: (found.append(path), decode(path, border))[1])
    return found


@pytest.fixture
def photos(bench: CellContext, tmp_path: Path) -> ImageSet:
    return as_files(bench.task.val, tmp_path / "photos", 12)


def shown(images: ImageSet, bench: CellContext, cache: ArrayCache, view: str = "centre") -> ImageSet:
    return cached_views(images, bench.card, view, SIDE, cache)


@pytest.mark.parametrize("view", EVAL_VIEWS)
def test_the_cached_pixels_are_those_of_the_view(
    photos: ImageSet, bench: CellContext, tmp_path: Path, view: str
) -> None:
    found, made = shown(photos, bench, ArrayCache(tmp_path / "cache"), view), EVAL_VIEWS[view](SIDE)
    for row in range(len(photos)):
        expected = made(photos.images[row], row)
        assert torch.equal(found.images[row], expected)
        assert torch.equal(made(found.images[row], row), expected)


def test_photos_are_decoded_once_for_all_cells_and_processes(
    photos: ImageSet, bench: CellContext, decoded: list[Path], tmp_path: Path
) -> None:
    cell, cached = quick_cell("zeroshot"), Execution(feature_cache=str(tmp_path / "cache"))
    context = replace(bench, task=replace(bench.task, val=photos), execution=cached)
    plain = replace(context, execution=Execution()).predict(cell, bench.network(), photos)
    del decoded[:]
    first = context.predict(cell, bench.network(), photos)
    assert len(decoded) == len(photos)
    again = replace(context).predict(cell, bench.network(), photos)
    assert len(decoded) == len(photos)
    assert np.array_equal(first.logits, plain.logits) and np.array_equal(again.logits, plain.logits)
    assert list(again.images) == list(plain.images)


def test_a_photo_that_changes_is_decoded_again(photos: ImageSet, bench: CellContext, tmp_path: Path) -> None:
    cache, path = ArrayCache(tmp_path / "cache"), photos.images.paths[0]
    shown(photos, bench, cache)
    path.write_bytes(photos.images.paths[1].read_bytes())
    os.utime(path, (1, 1))
    assert torch.equal(shown(photos, bench, cache).images[0], EVAL_VIEWS["centre"](SIDE)(photos.images[1], 1))


def test_views_that_are_too_many_for_the_cache_cost_nothing(
    photos: ImageSet, bench: CellContext, decoded: list[Path], tmp_path: Path
) -> None:
    size = len(photos) * 3 * SIDE * SIDE
    assert shown(photos, bench, ArrayCache(tmp_path / "cache", 4 * size - 1)) is photos
    assert not decoded and not (tmp_path / "cache").exists()
    assert shown(photos, bench, ArrayCache(tmp_path / "cache", 8 * size)) is not photos
