"""Pictures of the built-in world, which the processes of a run of tests draw once for all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from carft.core.array_cache import ArrayCache
from carft.data.icons import tasks
from carft.data.icons.rendering import Rendering
from carft.data.task import ImageSet


def share_drawings() -> None:
    """Have this process look for pictures in the folder that the run shares, where a test names no other.

    A test that draws in another way draws for itself.
    """
    shared = ArrayCache(Path(os.environ["CARFT_PLANTED"], "drawings"))
    render, image_set, digest = tasks.render, tasks.image_set, tasks._pixels_digest

    def shared_set(task: str, images: Sequence[Rendering], cache: ArrayCache | None = None) -> ImageSet:
        if cache is None and tasks.render is render:
            cache = shared
        return image_set(task, images, cache)

    tasks.image_set = shared_set
    tasks._pixels_digest = lambda: shared.get("sample", 1, 32, np.dtype("uint8"), digest).values
