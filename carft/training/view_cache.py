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
UINT8 = np.dtype("uint8")


def cached_views(images: ImageSet, card: Card, view: str, side: int, cache: ArrayCache | None) -> ImageSet:
    """The same set with its views (N, 3, side, side) uint8 mapped from the cache, which are written first if it lacks
    them, in place of files.

    The set itself where nothing is gained: without a cache, for pixels in memory, for views that do not fit, and where
    another process writes them now. view: the ``eval_view`` of a cell. side: of the view, in pixels.
    """
    files, count, width = images.images, len(images), 3 * side * side
    if cache is None or not isinstance(files, Files) or count * width > SHARE * cache.limit:
        return images

    def fill(values: np.ndarray) -> None:
        plan = [np.arange(first, min(first + BATCH, count)) for first in range(0, count, BATCH)]
        for rows, batch in zip(plan, batches(files, plan, EVAL_VIEWS[view](side)), strict=True):
            values[rows] = batch.reshape(len(rows), width).numpy()

    values = cache.filled(f"views-{_key(files, card, view, side)}", count, width, UINT8, fill)
    return images if values is None else replace(images, images=torch.from_numpy(values).view(count, 3, side, side))


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
