"""Validation images as the evaluation view shows them, cached on disk as the same uint8 pixels.

A sweep reads them after every epoch of every cell, and every read decodes whole photos. Cells of one task, size of the
input and evaluation view see the same pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import torch
import torchvision
from PIL import __version__ as pillow_version

from carft.core.array_cache import ArrayCache, key_of
from carft.data.card import Card
from carft.data.files import Files, jpeg_decoder
from carft.data.listing import statuses
from carft.data.reference_views import EVAL_VIEWS
from carft.data.task import ImageSet
from carft.data.views import batches

#: share of the cache that the views of one set may take; the pretrained model's features save more for their size
SHARE = 0.25
#: images that are decoded at a time
BATCH = 64
#: sets whose views a process keeps mapped
KEPT = 4
UINT8 = np.dtype("uint8")
#: (id of an image set, view, side, folder) -> the set and the same with views; the set is held so that its id stays its
_known: dict[tuple[int, str, int, str], tuple[ImageSet, ImageSet]] = {}


def cached_views(images: ImageSet, card: Card, view: str, side: int, cache: ArrayCache | None) -> ImageSet:
    """The same set with its views (N, 3, side, side) in memory, mapped from the cache, in place of files.

    The set itself where nothing is gained: without a cache, for pixels in memory, for views that do not fit, and where
    another process writes them now. view: the ``eval_view`` of a cell. side: of the view, in pixels.
    """
    if cache is None or not isinstance(images.images, Files):
        return images
    if len(images) * 3 * side * side > SHARE * cache.limit:
        return images
    place = (id(images), view, side, str(cache.folder))
    if place not in _known:
        pixels = _pixels(images.images, card, view, side, cache)
        if pixels is None:
            return images
        while len(_known) >= KEPT:
            del _known[next(iter(_known))]
        _known[place] = images, replace(images, images=pixels)
    return _known[place][1]


def _pixels(files: Files, card: Card, view: str, side: int, cache: ArrayCache) -> torch.Tensor | None:
    """(N, 3, side, side) uint8, mapped; written first where the cache lacks them. None where that is not possible."""
    count, width = len(files), 3 * side * side

    def fill(values: np.ndarray) -> None:
        plan = [np.arange(first, min(first + BATCH, count)) for first in range(0, count, BATCH)]
        for rows, batch in zip(plan, batches(files, plan, EVAL_VIEWS[view](side)), strict=True):
            values[rows] = batch.reshape(len(rows), width).numpy()

    values = cache.filled(f"views-{_key(files, card, view, side)}", count, width, UINT8, fill)
    return None if values is None else torch.from_numpy(values).reshape(count, 3, side, side)


def _key(files: Files, card: Card, view: str, side: int) -> str:
    """A hash of what decides the pixels: the files with size and time, the view, and what decodes and resizes."""
    listed = hashlib.sha256()
    for path, (size, changed) in zip(files.paths, statuses(files.paths), strict=True):
        listed.update(f"{path} {size} {changed}\n".encode())
    return key_of(
        {
            "files": [card.name, card.version, listed.hexdigest(), files.border],
            "view": [view, side],
            "computed": [jpeg_decoder(), torch.__version__, torchvision.__version__, pillow_version],
        }
    )
