"""The family of ImageNet and its shifts. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.commands import typed
from carft.data.card import Card, DataOptions
from carft.data.decoding import decode_pixels
from carft.data.family import Family, Pool, Sizes, image_file
from carft.data.imagenet.cards import CARDS, DATA_SETS, VALIDATION
from carft.data.imagenet.layout import BORDER

if TYPE_CHECKING:
    import numpy as np


class ImageNet(Family):
    """One task with five data sets as suites."""

    def count(self, card: Card, options: DataOptions) -> Sizes:
        suites = sum(sum(self.data_sets[name].counts.values()) for name in card.suites)
        counts = self.data_sets["imagenet"].counts
        return Sizes.split(counts["train"], VALIDATION, counts["test"] + suites)

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        data_set = held_out.removeprefix("ood/") if held_out.startswith("ood/") else "imagenet"
        folder = self.data_sets[data_set].folder + ("/val" if data_set == "imagenet" else "")
        return decode_pixels(image_file(card, root, folder, name), BORDER if data_set == "objectnet" else 0)


_POOL = Pool(
    "imagenet",
    "imagenet",
    "ImageNet and its shifts",
    tuple(CARDS),
    typed("sweep", "ood", "--data", "ROOT"),
    CARDS["imagenet"],
    built_in=True,
)
FAMILY = ImageNet("imagenet", CARDS, DATA_SETS, (_POOL,))
