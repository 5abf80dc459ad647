"""Loader of DomainBed's leave-one-domain-out tasks, and DomainBed's random split of a domain.

Source of the split: facebookresearch/DomainBed at b93c22a, domainbed/lib/misc.py (seed_hash, split_dataset) and
domainbed/scripts/train.py (which side is which). CLIPood (thuml/CLIPood at bc0d874, converter_domainbed.py) uses it
with trial seed 0.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from carft.data.card import Card, DataOptions
from carft.data.domainbed.cards import CARDS, DATA_SETS, FAMILIES, VALIDATION
from carft.data.loading import data_root, image_set, joined, opened, require_every_class
from carft.data.sets import Index
from carft.data.splitting import carved
from carft.data.task import ImageSet, Sealed, Task

#: DomainBed repeats runs over trial seeds, each with a split of its own; here all cells share the first split, since
#: intervals pair the images of several seeds
TRIAL_SEED = 0


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError`` unless every domain exists."""
    DATA_SETS[card.name.split("/")[0]].require_present(data_root(options))


def open_task(card: Card, options: DataOptions, holdout: str = "stable") -> Task:
    """Open training and validation images of all domains but the held-out one. Read once per process."""
    return _task(card.name, data_root(options), options.skip_unreadable, holdout)


def open_sealed(card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
    """Open the images of the held-out domain, all or one side of DomainBed's split, as the only suite."""
    name, held_out = card.name.split("/")
    found = opened(DATA_SETS[name], data_root(options), options.skip_unreadable)
    whole = found.splits[held_out]
    if target_split != "all":
        sides = dict(zip(("in", "out"), split_of(whole, number_of(name, held_out), VALIDATION), strict=True))
        whole = sides[target_split]
    return Sealed(None, {held_out: _images(name, held_out, found.readable(whole))})


@lru_cache(maxsize=8)
def _task(task: str, root: Path, skip_unreadable: bool, holdout: str) -> Task:
    name, held_out = task.split("/")
    found = opened(DATA_SETS[name], root, skip_unreadable)
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


def seed_hash(*parts: int) -> int:
    """The seed, in [0, 2**31), that DomainBed derives from numbers: md5 of their tuple as Python writes it."""
    return int(hashlib.md5(str(parts).encode("utf-8"), usedforsecurity=False).hexdigest(), 16) % 2**31


def split_of(index: Index, number: int, share: float) -> tuple[Index, Index]:
    """Return (in, out) of a domain: ``out`` is a random ``share`` of its images, rounded down.

    Training takes ``in`` of the training domains and validates on ``out``. number: position of the domain in its data
    set, from 0, in the order of folder names. The order of images is kept.
    """
    rows = np.arange(len(index))
    np.random.RandomState(seed_hash(TRIAL_SEED, number)).shuffle(rows)
    held_out = int(len(index) * share)
    return index.rows(sorted(rows[held_out:].tolist())), index.rows(sorted(rows[:held_out].tolist()))
