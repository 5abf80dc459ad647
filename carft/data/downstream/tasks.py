"""Loader of the nine downstream tasks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from carft.data.card import Card, DataOptions
from carft.data.downstream.cards import DATA_SETS
from carft.data.loading import data_root, image_set, opened, require_every_class
from carft.data.sets import Index
from carft.data.splitting import carved
from carft.data.task import ImageSet, Sealed, Task


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError`` unless the required files and folders of the set exist."""
    DATA_SETS[card.name].require_present(data_root(options))


def open_task(card: Card, options: DataOptions) -> Task:
    """Open training and validation images. A set without a validation split holds some training images out."""
    digests = opened(DATA_SETS[card.name], data_root(options), options.skip_unreadable).digests
    train = require_every_class(_images(card, options, "train"), card)
    return Task(card.name, train, _images(card, options, "val"), digests)


def open_sealed(card: Card, options: DataOptions) -> Sealed:
    """Open the test set. These tasks have no suites."""
    return Sealed(_images(card, options, "test"), {})


@lru_cache(maxsize=4)
def _splits(name: str, root: Path, skip_unreadable: bool) -> Mapping[str, Index]:
    found = opened(DATA_SETS[name], root, skip_unreadable)
    splits = dict(found.splits)
    if "val" not in splits:
        splits["train"], splits["val"] = carved(splits["train"], root / DATA_SETS[name].folder)
    return {split: found.readable(index) for split, index in splits.items()}


def _images(card: Card, options: DataOptions, split: str) -> ImageSet:
    data_set, root = DATA_SETS[card.name], data_root(options)
    index = _splits(card.name, root, options.skip_unreadable)[split]
    names = [path.relative_to(root / data_set.folder).as_posix() for path in index.paths]
    return image_set(index, names, pixels=data_set.pixels(root, index) if data_set.packed else None)
