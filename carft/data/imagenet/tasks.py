"""Loader of the task ``imagenet``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.imagenet.cards import CARDS, DATA_SETS, IMAGENET_LABELS, SUITES, VALIDATION, merged, subset
from carft.data.imagenet.layout import BORDER
from carft.data.loading import OpenedSet, data_root, image_set, opened, require_every_class
from carft.data.sets import Index
from carft.data.splitting import carved
from carft.data.task import ImageSet, Sealed, Task

IMAGENET = DATA_SETS["imagenet"]


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError`` unless ImageNet exists. The suites are checked when they are opened."""
    IMAGENET.require_present(data_root(options))


def require_sealed(card: Card, options: DataOptions) -> None:
    """Raise ``UserError`` unless all five suites exist."""
    for name in SUITES:
        DATA_SETS[name].require_present(data_root(options))


def open_task(card: Card, options: DataOptions) -> Task:
    """Open training images, and the held-out share of them as validation images. Read once per process."""
    return _task(data_root(options), options.skip_unreadable)


def open_sealed(card: Card, options: DataOptions) -> Sealed:
    """Open ILSVRC's validation images as the test set, and the five suites."""
    return _sealed(data_root(options), options.skip_unreadable)


@lru_cache(maxsize=2)
def _task(root: Path, skip_unreadable: bool) -> Task:
    found = opened(IMAGENET, root, skip_unreadable)
    train, val = (found.readable(part) for part in carved(found.splits["train"], root / IMAGENET.folder, VALIDATION))
    suites = _complete_suites(root, skip_unreadable)
    digests = _combined({"imagenet": found.digests, **{name: suite.digests for name, suite in suites.items()}})
    images = require_every_class(_images("imagenet", train), CARDS["imagenet"])
    return Task("imagenet", images, _images("imagenet", val), digests)


def _complete_suites(root: Path, skip_unreadable: bool) -> dict[str, OpenedSet]:
    """Return the suites that exist and are complete, so that the record says which: an incomplete ObjectNet has gone
    unnoticed in a published table."""
    found = {}
    for name in SUITES:
        with suppress(UserError):
            found[name] = opened(DATA_SETS[name], root, skip_unreadable)
    return found


def _combined(found: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Combine the digests of data sets: ``attested`` is the weakest of theirs, with the names of the sets."""
    states = {name: digests["attested"] for name, digests in found.items()}
    reasons: dict[str, list[str]] = {}
    for name, state in states.items():
        if state.startswith("no: "):
            reasons.setdefault(state.removeprefix("no: "), []).append(name)
    if reasons:
        attested = "no: " + " ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
    else:
        attested = "unknown" if "unknown" in states.values() else "yes"
    left_out = [f"{name}: {digests['left out']}" for name, digests in found.items() if "left out" in digests]
    return {
        "attested": attested,
        **{name: digests[name] for name, digests in found.items()},
        **({"left out": "; ".join(left_out)} if left_out else {}),
    }


@lru_cache(maxsize=2)
def _sealed(root: Path, skip_unreadable: bool) -> Sealed:
    images = {}
    for name in DATA_SETS:
        found = opened(DATA_SETS[name], root, skip_unreadable)
        images[name] = _images(name, found.readable(found.splits["test"]))
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
