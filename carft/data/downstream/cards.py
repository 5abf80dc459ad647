"""The nine downstream data sets and their tasks, from the fact tables. No torch."""

from __future__ import annotations

from carft.data.card import STANDARD, Card
from carft.data.downstream.annotated import Cars, Flowers, Food101, Lists
from carft.data.downstream.cifar import Cifar
from carft.data.facts import facts, imagenet_templates
from carft.data.sets import DataSet, Download

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
    return Card(
        name=data_set.name,
        measures=data_set.measures,
        scale="paper",
        version=data_set.version,
        classes=data_set.classes,
        templates=own,
        suites=(),
        group="image",
        metric=known["metric"],
        licence=data_set.licence,
        source=data_set.source,
        loader="",
        banks={STANDARD: imagenet_templates(), "own": own},
        folder=data_set.folder,
        data_sets=(data_set.name,),
    )


DATA_SETS: dict[str, DataSet] = {name: _data_set(name) for name in LAYOUTS}
CARDS: dict[str, Card] = {name: _card(data_set) for name, data_set in DATA_SETS.items()}
