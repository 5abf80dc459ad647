"""The family of the nine downstream tasks. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.commands import typed
from carft.data.card import Card, DataOptions
from carft.data.decoding import decode_pixels
from carft.data.downstream.cards import CARDS, DATA_SETS
from carft.data.family import Family, Pool, Sizes, image_file, no_image
from carft.data.splitting import SHARE

if TYPE_CHECKING:
    import numpy as np


class Downstream(Family):
    """Tasks that are one data set each."""

    def count(self, card: Card, options: DataOptions) -> Sizes:
        counts = self.data_sets[card.name].counts
        if "val" in counts:
            return Sizes(counts["train"], counts["val"], counts["test"])
        return Sizes.split(counts["train"], SHARE, counts["test"])

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        data_set = self.data_sets[card.name]
        if not data_set.packed:
            return decode_pixels(image_file(card, root, data_set.folder, name))
        file, _, number = name.rpartition("/")
        if not number.isdecimal():
            raise no_image(card, name)
        return data_set.packed_picture(image_file(card, root, data_set.folder, file) / number)


_TASKS = tuple(CARDS)
_POOL = Pool(
    "downstream",
    "nine",
    "nine downstream tasks",
    _TASKS,
    typed("sweep", "downstream", "--data", "ROOT"),
    CARDS[_TASKS[0]],
    built_in=True,
)
FAMILY = Downstream("downstream", CARDS, DATA_SETS, (_POOL,))
