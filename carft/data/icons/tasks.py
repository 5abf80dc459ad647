"""Loader of the icons tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from carft.core.array_cache import ArrayCache, key_of
from carft.data.card import Card, DataOptions
from carft.data.icons.attestation import attest, pixel_versions, require_present
from carft.data.icons.contexts import SIDE
from carft.data.icons.drawings import Drawing, census
from carft.data.icons.rendering import render, renderings
from carft.data.icons.world import ALL, FULL, FULL_RENDERINGS, ID_CONTEXTS, PROMPTS, RENDERINGS, SUITES, tasks
from carft.data.task import ImageSet, Sealed, Task

__all__ = ["image_set", "open_sealed", "open_task", "require_present"]


def open_task(card: Card, options: DataOptions) -> Task:
    """Open training and validation images. Rendered once per process, or once per machine with a disk cache."""
    return _task(card.name, options.cache)


def open_sealed(card: Card, options: DataOptions) -> Sealed:
    """Open the test set and the five suites."""
    return _sealed(card.name, options.cache)


@lru_cache(maxsize=16)
def _task(name: str, cache: ArrayCache | None) -> Task:
    return Task(
        name=name,
        train=_image_set(name, "train", ID_CONTEXTS, RENDERINGS["train"], cache),
        val=_image_set(name, "val", ID_CONTEXTS, RENDERINGS["val"], cache),
        digests=attest(cache),
    )


@lru_cache(maxsize=16)
def _sealed(name: str, cache: ArrayCache | None) -> Sealed:
    count = FULL_RENDERINGS if name.startswith(FULL) else RENDERINGS["test"]
    suites = {
        suite: _image_set(name, "hands" if suite == "hands" else "test", contexts, count, cache)
        for suite, contexts in SUITES.items()
    }
    return Sealed(_image_set(name, "test", ID_CONTEXTS, count, cache), suites)


def _image_set(name: str, split: str, contexts: Sequence[str], count: int, cache: ArrayCache | None) -> ImageSet:
    """Return images of the drawings of a task in a split, in the order of the census."""
    task = name.rpartition("/")[2]
    shown = [d for d in census() if d.split == split and (name == ALL or d.task == task)]
    return image_set(name, [(drawing, contexts) for drawing in shown], count, cache)


def image_set(
    name: str, shown: Sequence[tuple[Drawing, Sequence[str]]], count: int, cache: ArrayCache | None
) -> ImageSet:
    """Return ``count`` images of each drawing in its contexts, rendered or from the disk cache."""
    classes, order = tasks()[name], list(PROMPTS)
    jobs = [job for drawing, contexts in shown for job in renderings([drawing], contexts, count)]
    names = tuple(f"{d.name}/{c}/{i}" for d, c, i in jobs)

    def make() -> np.ndarray:
        return np.stack([render(*job).transpose(2, 0, 1) for job in jobs]).reshape(len(jobs), -1)

    if cache is None:
        pixels = make()
    else:
        entry = f"icons-{key_of({'world': pixel_versions(cache), 'names': names})}"
        pixels = cache.get(entry, len(jobs), 3 * SIDE * SIDE, np.dtype("uint8"), make)
    return ImageSet(
        images=torch.from_numpy(np.asarray(pixels)).view(-1, 3, SIDE, SIDE),
        labels=torch.tensor([classes.index(d.class_name) for d, _, _ in jobs]),
        contexts=torch.tensor([order.index(c) for _, c, _ in jobs]),
        names=names,
        groups=tuple(d.name for d, _, _ in jobs),
    )
