"""From ImageNet's files to image sets: the loader of the task ``imagenet``."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from carft.core.errors import UserError
from carft.data.card import Card, Where
from carft.data.imagenet.cards import CARDS, DATA_SETS, IMAGENET_LABELS, SUITES, VALIDATION, merged, subset
from carft.data.imagenet.layout import BORDER
from carft.data.loading import Opened, image_set, opened, require_every_class, together
from carft.data.sets import Index
from carft.data.splitting import carved
from carft.data.task import ImageSet, Sealed, Task

IMAGENET = DATA_SETS["imagenet"]


def require_present(card: Card, where: Where) -> None:
    """``UserError`` unless ImageNet is there; the shifts are asked for when they are opened."""
    assert where.root is not None
    IMAGENET.require_present(where.root)


def require_sealed(card: Card, where: Where) -> None:
    """``UserError`` unless all five shifts are there: for a sweep that will unseal, before it starts."""
    assert where.root is not None
    for name in SUITES:
        DATA_SETS[name].require_present(where.root)


def open_task(card: Card, where: Where) -> Task:
    """Training images without the held-out share, and the held-out share. Listed once per process."""
    assert where.root is not None
    return _task(where.root, where.skip_unreadable)


def open_sealed(card: Card, where: Where) -> Sealed:
    """ILSVRC's validation images as test set, and the five shifts."""
    assert where.root is not None
    return _sealed(where.root, where.skip_unreadable)


@lru_cache(maxsize=len(DATA_SETS))
def _opened(name: str, root: Path, skip_unreadable: bool) -> Opened:
    return opened(DATA_SETS[name], root, skip_unreadable)


@lru_cache(maxsize=2)
def _task(root: Path, skip_unreadable: bool) -> Task:
    found = _opened("imagenet", root, skip_unreadable)
    train, val = (found.whole(part) for part in carved(found.splits["train"], root / IMAGENET.place, VALIDATION))
    shifts = _present_shifts(root, skip_unreadable)
    digests = together({"imagenet": found.digests, **{name: shift.digests for name, shift in shifts.items()}})
    images = require_every_class(_images("imagenet", train), CARDS["imagenet"])
    return Task("imagenet", images, _images("imagenet", val), digests)


def _present_shifts(root: Path, skip_unreadable: bool) -> dict[str, Opened]:
    """The shifts that are there and whole: half of ObjectNet went unnoticed in a published column for a year."""
    found = {}
    for name in SUITES:
        with suppress(UserError):
            found[name] = _opened(name, root, skip_unreadable)
    return found


@lru_cache(maxsize=2)
def _sealed(root: Path, skip_unreadable: bool) -> Sealed:
    images = {}
    for name in DATA_SETS:
        found = _opened(name, root, skip_unreadable)
        images[name] = _images(name, found.whole(found.splits["test"]))
    return Sealed(images.pop("imagenet"), images)


def _images(name: str, index: Index) -> ImageSet:
    return image_set(
        index,
        index.groups,
        labels=[labels[0] for labels in IMAGENET_LABELS[name]],
        subset=subset(name),
        merged=merged(name),
        border=BORDER if name == "objectnet" else 0,
    )
