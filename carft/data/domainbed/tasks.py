"""From DomainBed's files to image sets: the loader of the leave-one-domain-out tasks."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from carft.data.card import Card, Where
from carft.data.domainbed.cards import CARDS, DATA_SETS, FAMILIES, VALIDATION
from carft.data.loading import Opened, image_set, joined, opened, require_every_class
from carft.data.sets import Index
from carft.data.splitting import carved
from carft.data.task import ImageSet, Sealed, Task


def require_present(card: Card, where: Where) -> None:
    """``UserError`` unless every domain is there."""
    assert where.root is not None
    DATA_SETS[card.name.split("/")[0]].require_present(where.root)


def open_task(card: Card, where: Where) -> Task:
    """Training and validation images of every domain but the one left out. Listed once per process."""
    assert where.root is not None
    return _task(card.name, where.root, where.skip_unreadable)


def open_sealed(card: Card, where: Where) -> Sealed:
    """The whole domain that was left out of training, as the one suite."""
    assert where.root is not None
    name, held_out = card.name.split("/")
    found = _opened(name, where.root, where.skip_unreadable)
    return Sealed(None, {held_out: _images(name, held_out, found.whole(found.splits[held_out]))})


@lru_cache(maxsize=2)
def _opened(name: str, root: Path, skip_unreadable: bool) -> Opened:
    return opened(DATA_SETS[name], root, skip_unreadable)


@lru_cache(maxsize=8)
def _task(task: str, root: Path, skip_unreadable: bool) -> Task:
    name, held_out = task.split("/")
    found = _opened(name, root, skip_unreadable)
    train, val = [], []
    for domain, entry in FAMILIES[name].domains.items():
        if domain != held_out:
            parts = carved(found.splits[domain], root / FAMILIES[name].place / entry.folder, VALIDATION)
            train.append(_images(name, domain, found.whole(parts[0])))
            val.append(_images(name, domain, found.whole(parts[1])))
    return Task(task, require_every_class(joined(train), CARDS[task]), joined(val), found.digests)


def _images(name: str, domain: str, index: Index) -> ImageSet:
    names = [f"{domain}/{path.parent.name}/{path.name}" for path in index.paths]
    groups = tuple(f"{domain}/{group}" for group in index.groups)
    return image_set(Index(index.paths, index.labels, groups), names, list(FAMILIES[name].domains).index(domain))
