"""The family of the nine downstream tasks. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carft.data.card import STANDARD, Card, DataOptions
from carft.data.decoding import decode_pixels
from carft.data.downstream.annotated import Cars, Flowers, Food101, Lists
from carft.data.downstream.cifar import Cifar
from carft.data.facts import facts, imagenet_templates
from carft.data.family import Sizes, image_file, no_image, pool_of
from carft.data.loading import SHARE, DataSetFamily, image_set, require_every_class
from carft.data.sets import DataSet, Download, Index

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet, Sealed, Task


#: in the order in which papers list them; the class that reads the files
LAYOUTS: dict[str, type[DataSet]] = {
    "cifar10": Cifar,
    "cifar100": Cifar,
    "dtd": Lists,
    "food101": Food101,
    "sun397": Lists,
    "cars": Cars,
    "aircraft": Lists,
    "pets": Lists,
    "flowers": Flowers,
}


def _data_set(name: str) -> DataSet:
    known = facts(name)
    return LAYOUTS[name](
        name=name,
        folder=known["place"],
        measures=known["measures"],
        classes=tuple(known["classes"]),
        counts=known["counts"],
        licence=known["licence"],
        source=known["source"],
        digests=known["digests"],
        labels=tuple(known["labels"]),
        needs=tuple(known["needs"]),
        archives=tuple(Download(**archive) for archive in known["archives"]),
    )


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

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        """Open training and validation images. A set without a validation split holds some training images out."""
        from carft.data.task import Task

        found = self.opened(card.name, options)
        has_val = "val" in found.splits
        parts = (found.splits["train"], found.splits["val"]) if has_val else found.hold_out("train", SHARE)
        train, val = (self._images(card, options, found.readable(part)) for part in parts)
        return Task(card.name, require_every_class(train, card), val, found.digests)

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        from carft.data.task import Sealed

        found = self.opened(card.name, options)
        return Sealed(self._images(card, options, found.readable(found.splits["test"])), {})

    def _images(self, card: Card, options: DataOptions, index: Index) -> ImageSet:
        data_set = self.data_sets[card.name]
        base = (options.root or Path()) / data_set.folder
        names = [path.relative_to(base).as_posix() for path in index.paths]
        return image_set(index, names, pixels=data_set.pixels(index) if isinstance(data_set, Cifar) else None)

    def count(self, card: Card, options: DataOptions) -> Sizes:
        counts = self.data_sets[card.name].counts
        if "val" in counts:
            return Sizes(counts["train"], counts["val"], counts["test"])
        return Sizes.split(counts["train"], SHARE, counts["test"])

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        data_set = self.data_sets[card.name]
        if not isinstance(data_set, Cifar):
            return decode_pixels(image_file(card, root, data_set.folder, name))
        file, _, number = name.rpartition("/")
        if not number.isdecimal():
            raise no_image(card, name)
        return data_set.picture(image_file(card, root, data_set.folder, file), int(number))


_POOL = pool_of("downstream", "nine", "nine downstream tasks", CARDS, "downstream")
FAMILY: Downstream = Downstream("downstream", CARDS, DATA_SETS, (_POOL,), order=2)
