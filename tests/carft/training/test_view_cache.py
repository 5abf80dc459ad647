"""Validation views are decoded once a machine, and the cached pixels are the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from carft.core.array_cache import ArrayCache
from carft.data import files as image_files
from carft.data.reference_views import EVAL_VIEWS
from carft.data.task import ImageSet
from carft.training import view_cache
from carft.training.context import CellContext
from carft.training.execution import Execution
from tests.carft.training.test_execution import as_files
from tests.support.helpers import quick_cell

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
    return view_cache.cached_views(images, bench.card, view, SIDE, cache)


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
