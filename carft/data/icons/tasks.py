"""From the census to image sets: the loader of the icons tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from carft.data.card import Card, Where
from carft.data.icons import foundries
from carft.data.icons.attestation import attest
from carft.data.icons.contexts import SIDE
from carft.data.icons.drawings import Drawing, census
from carft.data.icons.rendering import render
from carft.data.icons.world import ALL, ID_CONTEXTS, PROMPTS, RENDERINGS, SUITES, tasks
from carft.data.task import ImageSet, Sealed, Task


def require_present(card: Card, where: Where) -> None:
    """``Refusal`` unless fonts and built-in weights are installed; the world needs no data folder."""
    foundries.require_present()


def open_task(card: Card, where: Where) -> Task:
    """Train and validation images of an icons task. Rendered once per process."""
    return _task(card.name)


def open_sealed(card: Card, where: Where) -> Sealed:
    """Test set and the five suites of an icons task."""
    return _sealed(card.name)


@lru_cache(maxsize=16)
def _task(name: str) -> Task:
    return Task(
        name=name,
        train=_image_set(name, "train", ID_CONTEXTS, RENDERINGS["train"]),
        val=_image_set(name, "val", ID_CONTEXTS, RENDERINGS["val"]),
        digests=attest(),
    )


@lru_cache(maxsize=16)
def _sealed(name: str) -> Sealed:
    suites = {
        suite: _image_set(name, "hands" if suite == "hands" else "test", contexts, RENDERINGS["test"])
        for suite, contexts in SUITES.items()
    }
    return Sealed(_image_set(name, "test", ID_CONTEXTS, RENDERINGS["test"]), suites)


def drawings_of(name: str, split: str) -> list[Drawing]:
    """The drawings of a task in a split, in the census's order."""
    task = name.removeprefix("icons/")
    return [d for d in census() if d.split == split and (name == ALL or d.task == task)]


def _image_set(name: str, split: str, contexts: Sequence[str], renderings: int) -> ImageSet:
    classes, order = tasks()[name], list(PROMPTS)
    jobs = [(d, c, i) for d in drawings_of(name, split) for c in contexts for i in range(renderings)]
    images = torch.empty((len(jobs), 3, SIDE, SIDE), dtype=torch.uint8)
    for row, (drawing, context, index) in enumerate(jobs):
        images[row] = torch.from_numpy(render(drawing, context, index)).permute(2, 0, 1)
    return ImageSet(
        images=images,
        labels=torch.tensor([classes.index(d.class_name) for d, _, _ in jobs]),
        contexts=torch.tensor([order.index(c) for _, c, _ in jobs]),
        names=tuple(f"{d.name}/{c}/{i}" for d, c, i in jobs),
        groups=tuple(d.name for d, _, _ in jobs),
    )
