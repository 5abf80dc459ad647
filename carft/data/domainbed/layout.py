"""Layout of DomainBed's data sets: <domain>/<class>/<image>. No torch."""

from __future__ import annotations

from pathlib import Path

from carft.data.domainbed.cards import FAMILIES
from carft.data.fixtures import picture
from carft.data.sets import DataSet, Index
from carft.data.trees import class_tree

#: images of a class and domain in a fixture; training needs two, so that one can be held out
DRAWN = 2
SIDE = 16

#: DomainBed's script copies a photo into every class it shows; the copies are one group
COPIES = ("terraincognita",)


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return domain -> images. A group is an image.

    Photos of one sequence of a camera trap are correlated, but the files do not show which belong together. Intervals
    on TerraIncognita are therefore too narrow.
    """
    by_file = data_set.name in COPIES
    return {
        name: class_tree(data_set, root, root / data_set.folder / domain.folder, by_file=by_file)
        for name, domain in FAMILIES[data_set.name].domains.items()
    }


def fixture(data_set: DataSet, root: Path) -> None:
    """Write small drawings for every class in every domain, in the real layout."""
    base = root / data_set.folder
    for number, domain in enumerate(FAMILIES[data_set.name].domains.values()):
        for label, name in enumerate(data_set.labels):
            folder = base / domain.folder / name
            folder.mkdir(parents=True, exist_ok=True)
            for copy in range(DRAWN):
                file = f"{label:03d}_{copy}.{domain.ending}"
                picture(label, number, copy, SIDE).save(folder / file)
