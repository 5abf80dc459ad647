"""The family of DomainBed: five data sets, each with one domain left out in turn. No torch.

Source of DomainBed's random split of a domain: facebookresearch/DomainBed at b93c22a, domainbed/lib/misc.py (seed_hash,
split_dataset) and domainbed/scripts/train.py (which side is which). CLIPood (thuml/CLIPood at bc0d874,
converter_domainbed.py) uses it with trial seed 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from carft.data.card import STANDARD, Card
from carft.data.facts import facts, imagenet_templates
from carft.data.family import DataSetFamily, pool_of
from carft.data.index import Index
from carft.data.trees import Tree, TreePart, laid_out

if TYPE_CHECKING:
    from carft.data.task import ImageSet

DOWNLOAD = (
    "DomainBed's download script (github.com/facebookresearch/DomainBed, domainbed/scripts/download.py), which lays "
    "them out as <domain>/<class>/<image>"
)
#: prompt of zero-shot CLIP in published tables; CLIP has no list for these sets
OWN = ("a photo of a {}.",)


#: data set -> class folder -> words, in label order
CLASSES: dict[str, dict[str, str]] = dict(facts("classes", "carft.data.domainbed"))
del CLASSES["source"]


@dataclass(frozen=True, eq=False)
class DomainSet(Tree):
    """A tree of domains. The names and groups of its images begin with the domain, which is their context.

    Photos of one sequence of a camera trap are correlated, but the files do not show which belong together. Intervals
    on TerraIncognita are therefore too narrow.
    """

    validation: float = 0.2
    """DomainBed's holdout fraction, for its "training-domain validation set" selection."""

    def divided(self, splits: Mapping[str, Index], split: str, holdout: str) -> tuple[Index, Index]:
        if holdout == "domainbed":
            return split_of(splits[split], list(splits).index(split), self.validation)
        return super().divided(splits, split, holdout)

    def images(self, parts: Mapping[str, Index]) -> ImageSet:
        from carft.data.task import ImageSet

        domains = list(self.parts)
        names, grouped, contexts = [], [], []
        for domain, part in parts.items():
            names.append([f"{domain}/{path.parent.name}/{path.name}" for path in part.paths])
            groups = tuple(f"{domain}/{group}" for group in part.groups)
            grouped.append(replace(part, groups=groups))
            contexts.append(domains.index(domain))
        return ImageSet.of(grouped, names, contexts)

    def place(self, split: str, name: str) -> str:
        return super().place(split, name.removeprefix(f"{split}/"))


def _data_set(name: str, domains: Mapping[str, TreePart], source: str = DOWNLOAD, **others: Any) -> DomainSet:
    return DomainSet(name=name, source=source, **laid_out(domains, CLASSES[name]), **others)


#: the prompts of domains are this project's, since CLIP has none for these sets;
#: counts of PACS, VLCS and OfficeHome add up to those of the DomainBed paper; DomainNet's are "#Cleaned" of its page
#: (ai.bu.edu/M3SDA), TerraIncognita's those of MIRO's authors (github.com/khanrc/miro, issue 9)
DATA_SETS: dict[str, DomainSet] = {
    data_set.name: data_set
    for data_set in (
        _data_set(
            "pacs",
            folder="PACS",
            measures="7 classes as art paintings, cartoons, photos and sketches",
            licence="Research only",
            **facts("pacs"),
            domains={
                "art-painting": TreePart("art_painting", 2_048, "an art painting of a {}."),
                "cartoon": TreePart("cartoon", 2_344, "a cartoon of a {}."),
                "photo": TreePart("photo", 1_670, "a photo of a {}."),
                "sketch": TreePart("sketch", 3_929, "a sketch of a {}."),
            },
        ),
        # the domains are collections of photos, which words hardly distinguish
        _data_set(
            "vlcs",
            folder="VLCS",
            measures="5 classes in four collections of photos",
            licence="Research only; the images belong to those who took them",
            domains={
                "caltech101": TreePart("Caltech101", 1_415, "a centered photo of a {} alone."),
                "labelme": TreePart("LabelMe", 2_656, "a photo of a street with a {}."),
                "sun09": TreePart("SUN09", 3_282, "a photo of a scene with a {}."),
                "voc2007": TreePart("VOC2007", 3_376, "a snapshot of a {}."),
            },
        ),
        _data_set(
            "officehome",
            folder="office_home",
            measures="65 things of office and home as art, clip art, product pictures and photos",
            licence="Research only",
            domains={
                "art": TreePart("Art", 2_427, "an artistic picture of a {}."),
                "clipart": TreePart("Clipart", 4_365, "a clipart of a {}."),
                "product": TreePart("Product", 4_439, "a product picture of a {}."),
                "real-world": TreePart("Real World", 4_357, "a photo of a {}."),
            },
        ),
        # the domains are positions of cameras, which have no names; the script copies a photo into every class it shows
        _data_set(
            "terraincognita",
            folder="terra_incognita",
            measures="10 kinds of animals before camera traps at four places",
            licence="Community Data License Agreement, permissive",
            by_file=True,
            source=f"{DOWNLOAD}; published tables use 24,788 images, today 24,330 are available",
            domains={
                "l100": TreePart("location_100", 4_879, "a camera trap photo of a {} by a path."),
                "l38": TreePart("location_38", 9_767, "a camera trap photo of a {} among trees."),
                "l43": TreePart("location_43", 4_020, "a camera trap photo of a {} in dry grass."),
                "l46": TreePart("location_46", 6_122, "a camera trap photo of a {} on bare ground."),
            },
        ),
        _data_set(
            "domainnet",
            folder="domain_net",
            measures="345 classes as clip art, infographics, paintings, quick drawings, photos and sketches",
            licence="Research only; the images belong to those who made them",
            domains={
                "clipart": TreePart("clipart", 48_129, "a clipart of a {}."),
                "infograph": TreePart("infograph", 51_605, "an infographic of a {}."),
                "painting": TreePart("painting", 72_266, "a painting of a {}."),
                "quickdraw": TreePart("quickdraw", 172_500, "a quick drawing of a {}."),
                "real": TreePart("real", 172_947, "a photo of a {}."),
                "sketch": TreePart("sketch", 69_128, "a sketch of a {}."),
            },
        ),
    )
}


def _card(data_set: DomainSet, held_out: str) -> Card:
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


def _cards() -> dict[str, Card]:
    cards = {}
    for data_set in DATA_SETS.values():
        for domain in data_set.parts:
            card = _card(data_set, domain)
            cards[card.name] = card
    return cards


CARDS: dict[str, Card] = _cards()


#: DomainBed repeats runs over trial seeds, each with a split of its own; here all cells share the first split, since
#: intervals pair the images of several seeds
TRIAL_SEED = 0


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


_POOL = pool_of("domainbed", "domainbed", "DomainBed", CARDS, "domainbed")
FAMILY = DataSetFamily("domainbed", CARDS, DATA_SETS, (_POOL,), order=4)
