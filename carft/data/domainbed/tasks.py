"""Loader of DomainBed's leave-one-domain-out tasks."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from carft.data.card import Card, DataOptions
from carft.data.domainbed.cards import CARDS, DATA_SETS, FAMILIES, VALIDATION
from carft.data.domainbed.splits import split_of
from carft.data.loading import data_root, image_set, joined, opened, require_every_class
from carft.data.sets import Index
from carft.data.splitting import carved
from carft.data.task import ImageSet, Sealed, Task


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError`` unless every domain exists."""
    DATA_SETS[card.name.split("/")[0]].require_present(data_root(options))


def open_task(card: Card, options: DataOptions, holdout: str = "stable") -> Task:
    """Open training and validation images of all domains but the held-out one. Read once per process."""
    return _task(card.name, data_root(options), options.skip_unreadable, holdout)


def open_sealed(card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
    """Open the images of the held-out domain, all or one side of DomainBed's split, as the only suite."""
    name, held_out = card.name.split("/")
    found = opened(name, data_root(options), options.skip_unreadable)
    whole = found.splits[held_out]
    if target_split != "all":
        sides = dict(zip(("in", "out"), split_of(whole, number_of(name, held_out), VALIDATION), strict=True))
        whole = sides[target_split]
    return Sealed(None, {held_out: _images(name, held_out, found.readable(whole))})


@lru_cache(maxsize=8)
def _task(task: str, root: Path, skip_unreadable: bool, holdout: str) -> Task:
    name, held_out = task.split("/")
    found = opened(name, root, skip_unreadable)
    train, val = [], []
    for domain, entry in FAMILIES[name].domains.items():
        if domain != held_out:
            if holdout == "domainbed":
                parts = split_of(found.splits[domain], number_of(name, domain), VALIDATION)
            else:
                parts = carved(found.splits[domain], root / FAMILIES[name].folder / entry.folder, VALIDATION)
            train.append(_images(name, domain, found.readable(parts[0])))
            val.append(_images(name, domain, found.readable(parts[1])))
    return Task(task, require_every_class(joined(train), CARDS[task]), joined(val), found.digests)


def number_of(name: str, domain: str) -> int:
    """The position of a domain in its data set."""
    return list(FAMILIES[name].domains).index(domain)


def _images(name: str, domain: str, index: Index) -> ImageSet:
    names = [f"{domain}/{path.parent.name}/{path.name}" for path in index.paths]
    groups = tuple(f"{domain}/{group}" for group in index.groups)
    return image_set(Index(index.paths, index.labels, groups), names, number_of(name, domain))
