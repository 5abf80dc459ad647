"""The family of DomainBed: five data sets, each with one domain left out in turn. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.commands import typed
from carft.data.card import Card, DataOptions
from carft.data.decoding import decode_pixels
from carft.data.domainbed.cards import CARDS, DATA_SETS, FAMILIES, VALIDATION
from carft.data.family import Family, Pool, Sizes, image_file, no_image

if TYPE_CHECKING:
    import numpy as np


class DomainBed(Family):
    """Tasks of one data set and one held-out domain each, such as ``pacs/sketch``."""

    def count(self, card: Card, options: DataOptions) -> Sizes:
        name, held_out = card.name.split("/")
        counts = self.data_sets[name].counts
        return Sizes.split(sum(counts.values()) - counts[held_out], VALIDATION, counts[held_out])

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        data_set = self.data_sets[card.name.split("/")[0]]
        domain, _, file = name.partition("/")
        if domain not in FAMILIES[data_set.name].domains:
            raise no_image(card, name)
        folder = f"{data_set.folder}/{FAMILIES[data_set.name].domains[domain].folder}"
        return decode_pixels(image_file(card, root, folder, file))


_TASKS = tuple(CARDS)
_POOL = Pool(
    "domainbed",
    "domainbed",
    "DomainBed",
    _TASKS,
    typed("sweep", "domainbed", "--data", "ROOT"),
    CARDS[_TASKS[0]],
    built_in=True,
)
FAMILY = DomainBed("domainbed", CARDS, DATA_SETS, (_POOL,))
