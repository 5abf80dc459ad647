"""Pictures of the built-in world: processes of a run of tests draw them once for all, and most take a third of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from carft.core.array_cache import ArrayCache
from carft.data.icons import tasks
from carft.data.icons.rendering import Rendering
from carft.data.task import ImageSet

#: of the images of a set, one in so many is there
FEW = 3

_render, _image_set, _pixels_digest = tasks.render, tasks.image_set, tasks._pixels_digest


def _shared() -> ArrayCache:
    """The folder in which all processes of the run look for pictures."""
    return ArrayCache(Path(os.environ["CARFT_PLANTED"], "drawings"))


def _whole_set(task: str, images: Sequence[Rendering], cache: ArrayCache | None = None) -> ImageSet:
    if cache is None and tasks.render is _render:  # a test that draws in another way draws for itself
        cache = _shared()
    return _image_set(task, images, cache)


def _few_of_set(task: str, images: Sequence[Rendering], cache: ArrayCache | None = None) -> ImageSet:
    return _whole_set(task, images[::FEW], cache)


def share_drawings() -> None:
    """Have this process open a third of the images, from the folder that the run shares."""
    tasks.image_set = _few_of_set
    tasks._pixels_digest = lambda: _shared().get("sample", 1, 32, np.dtype("uint8"), _pixels_digest).values


@contextmanager
def all_images() -> Iterator[None]:
    """Within the block sets are whole: other processes, such as workers of Ray, see them so."""
    tasks.opened_images.cache_clear()
    with patch.object(tasks, "image_set", _whole_set):
        yield
    tasks.opened_images.cache_clear()


def runtime_env(asked: dict[str, Any] | None) -> dict[str, Any]:
    """Ray's hook (``RAY_RUNTIME_ENV_HOOK``): its workers open as many images as this process."""
    return {**(asked or {}), "worker_process_setup_hook": "tests.support.drawn.install"}


def install() -> None:
    """What a worker of Ray begins with."""
    from sweeps.ray_backend.connect import prepare_worker

    prepare_worker()  # what this hook replaces
    share_drawings()
