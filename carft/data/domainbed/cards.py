"""The cards of DomainBed's data sets: one task per domain that is left out of training. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carft.core.errors import unknown
from carft.data.card import STANDARD, Card
from carft.data.facts import imagenet_templates, table
from carft.data.trees import Part, Tree

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


@dataclass(frozen=True)
class Family:
    """A data set of several domains."""

    folder: str
    """Folder under the data root, as DomainBed names it."""
    measures: str
    licence: str
    domains: Mapping[str, Domain]
    source: str = DOWNLOAD


#: counts of PACS, VLCS and OfficeHome add up to those of the DomainBed paper; DomainNet's are "#Cleaned" of its page
#: (ai.bu.edu/M3SDA), TerraIncognita's those of MIRO's authors (github.com/khanrc/miro, issue 9)
FAMILIES: dict[str, Family] = {
    "pacs": Family(
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
    "vlcs": Family(
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
    "officehome": Family(
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
    "terraincognita": Family(
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
    "domainnet": Family(
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
}

#: data set -> class folder -> words, in label order
CLASSES: dict[str, dict[str, str]] = {
    name: folders for name, folders in table("carft.data.domainbed", "classes").items() if name in FAMILIES
}


def _data_set(name: str, family: Family) -> Tree:
    return Tree(
        name=name,
        folder=family.folder,
        measures=family.measures,
        classes=tuple(CLASSES[name].values()),
        counts={domain: entry.count for domain, entry in family.domains.items()},
        licence=family.licence,
        source=f"{family.source}, laid out as ROOT/{family.folder}/<domain>/<class>/<image>",
        labels=tuple(CLASSES[name]),
        needs=tuple(domain.folder for domain in family.domains.values()),
        parts={
            domain: Part(entry.folder, f"{{label:03d}}_{{number}}.{entry.ending}", domain=number)
            for number, (domain, entry) in enumerate(family.domains.items())
        },
        by_file=name in COPIES,
    )


DATA_SETS: dict[str, Tree] = {name: _data_set(name, family) for name, family in FAMILIES.items()}


def _card(data_set: Tree, held_out: str) -> Card:
    prompts = tuple(domain.prompt for domain in FAMILIES[data_set.name].domains.values())
    return Card(
        name=f"{data_set.name}/{held_out}",
        measures=f"{data_set.measures}; {held_out} is left out of training",
        scale="paper",
        version=f"{data_set.name}-{data_set.version}",
        classes=data_set.classes,
        templates=OWN,
        suites=(held_out,),
        group="image",
        metric="top1",
        licence=data_set.licence,
        source=data_set.source,
        loader="",
        banks={STANDARD: imagenet_templates(), "own": OWN, "domains": prompts},
        contexts=prompts,
        has_test=False,
        folder=data_set.folder,
        data_sets=(data_set.name,),
        domains=len(FAMILIES[data_set.name].domains) - 1,
    )


CARDS: dict[str, Card] = {
    card.name: card
    for data_set in DATA_SETS.values()
    for card in (_card(data_set, domain) for domain in FAMILIES[data_set.name].domains)
}


def leave_one_out(data_set: str) -> tuple[str, ...]:
    """Return the tasks of a data set, one per held-out domain. Raises ``UserError`` for an unknown data set."""
    if data_set not in FAMILIES:
        raise unknown("data set of several domains", data_set, FAMILIES)
    return tuple(f"{data_set}/{domain}" for domain in FAMILIES[data_set].domains)
