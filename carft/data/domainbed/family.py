"""The family of DomainBed: five data sets, each with one domain left out in turn. No torch.

Source of DomainBed's random split of a domain: facebookresearch/DomainBed at b93c22a, domainbed/lib/misc.py (seed_hash,
split_dataset) and domainbed/scripts/train.py (which side is which). CLIPood (thuml/CLIPood at bc0d874,
converter_domainbed.py) uses it with trial seed 0.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carft.core.commands import typed
from carft.data.card import Card, DataOptions
from carft.data.decoding import decode_pixels
from carft.data.domainbed.cards import CARDS, DATA_SETS, VALIDATION
from carft.data.family import Pool, Sizes, image_file, no_image
from carft.data.loading import DataSetFamily, image_set, joined, require_every_class
from carft.data.sets import Index

if TYPE_CHECKING:
    from carft.data.task import ImageSet, Sealed, Task

#: DomainBed repeats runs over trial seeds, each with a split of its own; here all cells share the first split, since
#: intervals pair the images of several seeds
TRIAL_SEED = 0


class DomainBed(DataSetFamily):
    """Tasks of one data set and one held-out domain each, such as ``pacs/sketch``.

    Photos of one sequence of a camera trap are correlated, but the files do not show which belong together. Intervals
    on TerraIncognita are therefore too narrow.
    """

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        """Open all domains but the held-out one."""
        from carft.data.task import Task

        name, held_out = card.name.split("/")
        found = self.opened(name, options)
        train, val = [], []
        for domain, part in DATA_SETS[name].parts.items():
            if domain != held_out:
                if holdout == "domainbed":
                    sides = split_of(found.splits[domain], number_of(name, domain), VALIDATION)
                else:
                    sides = found.carved(domain, VALIDATION, part.folder)
                train.append(_images(name, domain, found.readable(sides[0])))
                val.append(_images(name, domain, found.readable(sides[1])))
        return Task(card.name, require_every_class(joined(train), card), joined(val), found.digests)

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        """Open the held-out domain, all of it or one side of DomainBed's split, as the only suite."""
        from carft.data.task import Sealed

        name, held_out = card.name.split("/")
        found = self.opened(name, options)
        images = found.splits[held_out]
        if target_split != "all":
            images = split_of(images, number_of(name, held_out), VALIDATION)[("in", "out").index(target_split)]
        return Sealed(None, {held_out: _images(name, held_out, found.readable(images))})

    def count(self, card: Card, options: DataOptions) -> Sizes:
        name, held_out = card.name.split("/")
        counts = self.data_sets[name].counts
        return Sizes.split(sum(counts.values()) - counts[held_out], VALIDATION, counts[held_out])

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        data_set = DATA_SETS[card.name.split("/")[0]]
        domain, _, file = name.partition("/")
        if domain not in data_set.parts:
            raise no_image(card, name)
        return decode_pixels(image_file(card, root, f"{data_set.folder}/{data_set.parts[domain].folder}", file))


def number_of(name: str, domain: str) -> int:
    """The position of a domain in its data set."""
    return list(DATA_SETS[name].parts).index(domain)


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


_COMMAND = typed("sweep", "domainbed", "--data", "ROOT")
_POOL = Pool("domainbed", "domainbed", "DomainBed", tuple(CARDS), _COMMAND, next(iter(CARDS.values())), built_in=True)
FAMILY = DomainBed("domainbed", CARDS, DATA_SETS, (_POOL,))
