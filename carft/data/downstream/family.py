"""The family of the nine downstream tasks. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from carft.data.card import STANDARD, Card
from carft.data.decoding import decode_pixels
from carft.data.downstream.layouts import LAYOUTS, Cifar
from carft.data.facts import facts, imagenet_templates
from carft.data.family import image_file, no_image, pool_of
from carft.data.loading import DataSetFamily, OpenedSet, image_set
from carft.data.sets import DataSet, Download, Index

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet


def _data_set(name: str) -> DataSet:
    known = facts(name)
    fields: dict[str, Any] = {key: known[key] for key in ("measures", "counts", "licence", "source", "digests")}
    fields |= {key: tuple(known[key]) for key in ("classes", "labels", "needs")}
    archives = tuple(Download(**archive) for archive in known["archives"])
    return LAYOUTS[name](name=name, folder=known["place"], archives=archives, **fields)


def _card(data_set: DataSet) -> Card:
    known = facts(data_set.name)
    own = tuple(known["templates"])
    return data_set.card(
        version=data_set.version,
        templates=own,
        suites=(),
        metric=known["metric"],
        banks={STANDARD: imagenet_templates(), "own": own},
    )


DATA_SETS: dict[str, DataSet] = {name: _data_set(name) for name in LAYOUTS}
CARDS: dict[str, Card] = {name: _card(data_set) for name, data_set in DATA_SETS.items()}


class Downstream(DataSetFamily):
    """Tasks that are one data set each, without suites."""

    def images(self, found: OpenedSet, split: str, index: Index) -> ImageSet:
        data_set = found.data_set
        pixels = data_set.pixels(index.paths) if isinstance(data_set, Cifar) else None
        return image_set(index, index.groups, pixels=pixels)

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        data_set = self.data_sets[card.name]
        if not isinstance(data_set, Cifar):
            return decode_pixels(image_file(card, root, data_set.folder, name))
        file, _, number = name.rpartition("/")
        path = image_file(card, root, data_set.folder, file) / number
        try:
            return data_set.pixels([path])[0].transpose(1, 2, 0)
        except (IndexError, ValueError):
            raise no_image(card, name) from None


_POOL = pool_of("downstream", "nine", "nine downstream tasks", CARDS, "downstream")
FAMILY: Downstream = Downstream("downstream", CARDS, DATA_SETS, (_POOL,), order=2)
