"""The family of DomainBed: five data sets, each with one domain left out in turn. No torch.

Source of DomainBed's random split of a domain: facebookresearch/DomainBed at b93c22a, domainbed/lib/misc.py (seed_hash,
split_dataset) and domainbed/scripts/train.py (which side is which). CLIPood (thuml/CLIPood at bc0d874,
converter_domainbed.py) uses it with trial seed 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from carft.data.card import STANDARD, Card
from carft.data.facts import facts, imagenet_templates
from carft.data.family import DataSetFamily, pool_of
from carft.data.index import Index
from carft.data.trees import Tree, laid_out

if TYPE_CHECKING:
    from carft.data.task import ImageSet

#: prompt of zero-shot CLIP in published tables; CLIP has no list for these sets
OWN = ("a photo of a {}.",)


#: data set -> class folder -> words, in label order
CLASSES: dict[str, dict[str, str]] = dict(facts("classes", "carft.data.domainbed"))
del CLASSES["source"]


@dataclass(frozen=True, eq=False)
class DomainSet(Tree):
    """A tree of domains. The names and groups of its images begin with the domain, which is their context.

    Photos of one sequence of a camera trap are correlated, but the files do not show which belong together: intervals
    on TerraIncognita are too narrow. Its script copies a photo into every class that it shows.
    """

    validation: float = 0.2
    """DomainBed's holdout fraction, for its "training-domain validation set" selection."""

    def divided(self, splits: Mapping[str, Index], split: str, holdout: str) -> tuple[Index, Index]:
        if holdout == "domainbed":
            return split_of(splits[split], list(splits).index(split), self.validation)
        return super().divided(splits, split, holdout)

    def images(self, parts: Mapping[str, Index]) -> ImageSet:
        grouped = {}
        for domain, part in parts.items():
            grouped[domain] = replace(part, groups=tuple(f"{domain}/{group}" for group in part.groups))
        return super().images(grouped)

    def names(self, split: str, part: Index) -> Sequence[str]:
        return [f"{split}/{path.parent.name}/{path.name}" for path in part.paths]


DATA_SETS: dict[str, DomainSet] = {}
for _name, _facts in facts("sets", "carft.data.domainbed")["data_sets"].items():
    DATA_SETS[_name] = DomainSet(name=_name, domains=tuple(_facts["parts"]), **laid_out(_facts, CLASSES[_name]))


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
