"""The family of DomainBed: five data sets, each with one domain left out in turn. No torch.

Source of DomainBed's random split of a domain: facebookresearch/DomainBed at b93c22a, domainbed/lib/misc.py (seed_hash,
split_dataset) and domainbed/scripts/train.py (which side is which). CLIPood (thuml/CLIPood at bc0d874,
converter_domainbed.py) uses it with trial seed 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carft.core.errors import unknown
from carft.data.card import STANDARD, Card, DataOptions
from carft.data.decoding import decode_pixels
from carft.data.facts import imagenet_templates, table
from carft.data.family import Sizes, image_file, no_image, pool_of
from carft.data.loading import DataSetFamily, OpenedSet, image_set, joined, require_every_class
from carft.data.sets import Index
from carft.data.trees import Part, Tree

if TYPE_CHECKING:
    from carft.data.task import ImageSet, Sealed, Task


#: share of each class of each training domain that is held out for validation: DomainBed's holdout fraction and its
#: "training-domain validation set" selection
VALIDATION = 0.2

DOWNLOAD = "DomainBed's download script (github.com/facebookresearch/DomainBed, domainbed/scripts/download.py)"
#: prompt of zero-shot CLIP in published tables; CLIP has no list for these sets
OWN = ("a photo of a {}.",)
#: sets in which the script copies a photo into every class it shows; the copies are one group
COPIES = ("terraincognita",)


@dataclass(frozen=True)
class Domain:
    """A domain of a data set."""

    folder: str
    count: int
    """Images in the real set."""
    prompt: str
    """Prompt of the domain. This project wrote it, since CLIP has none for these sets."""
    ending: str = "jpg"
    """File name extension in fixtures."""


#: data set -> class folder -> words, in label order
CLASSES: dict[str, dict[str, str]] = {
    name: folders for name, folders in table("carft.data.domainbed", "classes").items() if name != "source"
}


def _data_set(
    name: str, folder: str, measures: str, licence: str, domains: Mapping[str, Domain], source: str = DOWNLOAD
) -> Tree:
    """folder: under the data root, as DomainBed names it. domains: in the order of their folders."""
    return Tree(
        name=name,
        folder=folder,
        measures=measures,
        classes=tuple(CLASSES[name].values()),
        counts={domain: entry.count for domain, entry in domains.items()},
        licence=licence,
        source=f"{source}, laid out as ROOT/{folder}/<domain>/<class>/<image>",
        labels=tuple(CLASSES[name]),
        needs=tuple(domain.folder for domain in domains.values()),
        parts={
            domain: Part(entry.folder, f"{{label:03d}}_{{number}}.{entry.ending}", domain=number, prompt=entry.prompt)
            for number, (domain, entry) in enumerate(domains.items())
        },
        by_file=name in COPIES,
    )


#: counts of PACS, VLCS and OfficeHome add up to those of the DomainBed paper; DomainNet's are "#Cleaned" of its page
#: (ai.bu.edu/M3SDA), TerraIncognita's those of MIRO's authors (github.com/khanrc/miro, issue 9)
_DATA_SETS = (
    _data_set(
        "pacs",
        "PACS",
        "7 classes as art paintings, cartoons, photos and sketches",
        "Research only",
        {
            "art-painting": Domain("art_painting", 2_048, "an art painting of a {}."),
            "cartoon": Domain("cartoon", 2_344, "a cartoon of a {}."),
            "photo": Domain("photo", 1_670, "a photo of a {}."),
            "sketch": Domain("sketch", 3_929, "a sketch of a {}.", "png"),
        },
    ),
    # the domains are collections of photos, which words hardly distinguish
    _data_set(
        "vlcs",
        "VLCS",
        "5 classes in four collections of photos",
        "Research only; the images belong to those who took them",
        {
            "caltech101": Domain("Caltech101", 1_415, "a centered photo of a {} alone."),
            "labelme": Domain("LabelMe", 2_656, "a photo of a street with a {}."),
            "sun09": Domain("SUN09", 3_282, "a photo of a scene with a {}."),
            "voc2007": Domain("VOC2007", 3_376, "a snapshot of a {}."),
        },
    ),
    _data_set(
        "officehome",
        "office_home",
        "65 things of office and home as art, clip art, product pictures and photos",
        "Research only",
        {
            "art": Domain("Art", 2_427, "an artistic picture of a {}."),
            "clipart": Domain("Clipart", 4_365, "a clipart of a {}."),
            "product": Domain("Product", 4_439, "a product picture of a {}."),
            "real-world": Domain("Real World", 4_357, "a photo of a {}."),
        },
    ),
    # the domains are positions of cameras, which have no names
    _data_set(
        "terraincognita",
        "terra_incognita",
        "10 kinds of animals before camera traps at four places",
        "Community Data License Agreement, permissive",
        {
            "l100": Domain("location_100", 4_879, "a camera trap photo of a {} by a path."),
            "l38": Domain("location_38", 9_767, "a camera trap photo of a {} among trees."),
            "l43": Domain("location_43", 4_020, "a camera trap photo of a {} in dry grass."),
            "l46": Domain("location_46", 6_122, "a camera trap photo of a {} on bare ground."),
        },
        DOWNLOAD + "; published tables use 24,788 images, today 24,330 are available",
    ),
    _data_set(
        "domainnet",
        "domain_net",
        "345 classes as clip art, infographics, paintings, quick drawings, photos and sketches",
        "Research only; the images belong to those who made them",
        {
            "clipart": Domain("clipart", 48_129, "a clipart of a {}."),
            "infograph": Domain("infograph", 51_605, "an infographic of a {}."),
            "painting": Domain("painting", 72_266, "a painting of a {}."),
            "quickdraw": Domain("quickdraw", 172_500, "a quick drawing of a {}.", "png"),
            "real": Domain("real", 172_947, "a photo of a {}."),
            "sketch": Domain("sketch", 69_128, "a sketch of a {}."),
        },
    ),
)
DATA_SETS: dict[str, Tree] = {data_set.name: data_set for data_set in _DATA_SETS}


def _card(data_set: Tree, held_out: str) -> Card:
    prompts = tuple(part.prompt for part in data_set.parts.values())
    return data_set.card(
        name=f"{data_set.name}/{held_out}",
        measures=f"{data_set.measures}; {held_out} is left out of training",
        version=f"{data_set.name}-{data_set.version}",
        templates=OWN,
        suites=(held_out,),
        metric="top1",
        banks={STANDARD: imagenet_templates(), "own": OWN, "domains": prompts},
        contexts=prompts,
        has_test=False,
        domains=len(data_set.parts) - 1,
    )


CARDS: dict[str, Card] = {
    card.name: card
    for data_set in DATA_SETS.values()
    for card in (_card(data_set, domain) for domain in data_set.parts)
}


def leave_one_out(data_set: str) -> tuple[str, ...]:
    """Return the tasks of a data set, one per held-out domain. Raises ``UserError`` for an unknown data set."""
    if data_set not in DATA_SETS:
        raise unknown("data set of several domains", data_set, DATA_SETS)
    return tuple(f"{data_set}/{domain}" for domain in DATA_SETS[data_set].parts)


#: DomainBed repeats runs over trial seeds, each with a split of its own; here all cells share the first split, since
#: intervals pair the images of several seeds
TRIAL_SEED = 0


class DomainBed(DataSetFamily):
    """Tasks of one data set and one held-out domain each, such as ``pacs/sketch``.

    Photos of one sequence of a camera trap are correlated, but the files do not show which belong together. Intervals
    on TerraIncognita are therefore too narrow.
    """

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        """Open all domains but the held-out one. Read once per process."""
        return _task(card.name, self.opened(card.name.split("/")[0], options), holdout)

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


@lru_cache(maxsize=8)
def _task(task: str, found: OpenedSet, holdout: str) -> Task:
    from carft.data.task import Task

    name, held_out = task.split("/")
    train, val = [], []
    for domain, part in DATA_SETS[name].parts.items():
        if domain != held_out:
            if holdout == "domainbed":
                sides = split_of(found.splits[domain], number_of(name, domain), VALIDATION)
            else:
                sides = found.hold_out(domain, VALIDATION, part.folder)
            train.append(_images(name, domain, found.readable(sides[0])))
            val.append(_images(name, domain, found.readable(sides[1])))
    return Task(task, require_every_class(joined(train), CARDS[task]), joined(val), found.digests)


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


FAMILY: DomainBed = DomainBed(
    "domainbed", CARDS, DATA_SETS, (pool_of("domainbed", "domainbed", "DomainBed", CARDS, "domainbed"),), order=4
)
