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
from carft.data.icons.drawings import Drawing, drawings_of
from carft.data.icons.rendering import render, renderings
from carft.data.icons.world import HANDS, WORLDS, World, tasks
from carft.data.task import ImageSet, Sealed, Task

__all__ = ["image_set", "open_sealed", "open_task", "require_present", "set_of"]


def open_task(card: Card, options: DataOptions) -> Task:
    """Open training and validation images. Rendered once per process, or once per machine with a disk cache."""
    return _task(WORLDS[card.version], card.name, options.cache)


def open_sealed(card: Card, options: DataOptions) -> Sealed:
    """Open the test set and the five suites."""
    return _sealed(WORLDS[card.version], card.name, options.cache)


@lru_cache(maxsize=16)
def _task(world: World, name: str, cache: ArrayCache | None) -> Task:
    sets = {
        part: set_of(world, name, part, world.id_contexts, world.renderings[part], cache) for part in ("train", "val")
    }
    return Task(name=name, train=sets["train"], val=sets["val"], digests=attest(world, cache))


@lru_cache(maxsize=16)
def _sealed(world: World, name: str, cache: ArrayCache | None) -> Sealed:
    count = world.renderings["full" if name.startswith(world.full) else "test"]
    suites = {
        suite: set_of(world, name, suite if suite == HANDS else "test", contexts, count, cache)
        for suite, contexts in world.suites.items()
    }
    return Sealed(set_of(world, name, "test", world.id_contexts, count, cache), suites)


def set_of(
    world: World, name: str, part: str, contexts: Sequence[str], count: int, cache: ArrayCache | None = None
) -> ImageSet:
    """Return ``count`` images, in these contexts, of each drawing of a task in a part."""
    shown = [(drawing, contexts) for drawing in drawings_of(world, name, part)]
    return image_set(world, name, shown, count, cache)


def image_set(
    world: World, name: str, shown: Sequence[tuple[Drawing, Sequence[str]]], count: int, cache: ArrayCache | None
) -> ImageSet:
    """Return ``count`` images of each drawing in its contexts, rendered or from the disk cache."""
    classes, order = tasks(world)[name], list(world.prompts)
    jobs = [job for drawing, contexts in shown for job in renderings([drawing], contexts, count)]
    names = tuple(f"{d.name}/{c}/{i}" for d, c, i in jobs)

    def make() -> np.ndarray:
        return np.stack([render(*job, world).transpose(2, 0, 1) for job in jobs]).reshape(len(jobs), -1)

    if cache is None:
        pixels = make()
    else:
        entry = f"icons-{key_of({'world': pixel_versions(world, cache), 'names': names})}"
        pixels = cache.get(entry, len(jobs), 3 * SIDE * SIDE, np.dtype("uint8"), make)
    return ImageSet(
        images=torch.from_numpy(np.asarray(pixels)).view(-1, 3, SIDE, SIDE),
        labels=torch.tensor([classes.index(d.class_name) for d, _, _ in jobs]),
        contexts=torch.tensor([order.index(c) for _, c, _ in jobs]),
        names=names,
        groups=tuple(d.name for d, _, _ in jobs),
    )
