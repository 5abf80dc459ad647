"""How ImageNet and its shifts lie on disk. No torch."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from carft.data.fixtures import begin, picture
from carft.data.sets import DataSet, Index
from carft.data.trees import class_tree

#: split -> folder in it; the shifts have one split and no folder for it
SPLITS = {"imagenet": {"train": "train", "test": "val"}}
ONE_SPLIT = {"test": "."}
#: split -> images of a class in a fixture; training needs two, so that one can be held out
DRAWN = {"train": 2, "test": 1}
#: in fixtures: the look of the drawings, and the ending of the files
DOMAINS = {"imagenet-r": 1, "imagenet-a": 2, "imagenet-sketch": 3, "objectnet": 4}
ENDINGS = {"imagenet": "JPEG", "imagenet-v2": "jpeg", "imagenet-sketch": "JPEG", "objectnet": "png"}
SIDE = 16
#: pixels of red around an image of ObjectNet, to be cut off
BORDER = 2


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Split -> images. ObjectNet's folders that are none of the 113 classes are left alone."""
    others = data_set.name == "objectnet"
    return {
        split: class_tree(data_set, root, root / data_set.place / folder, other_folders=others)
        for split, folder in SPLITS.get(data_set.name, ONE_SPLIT).items()
    }


def fixture(data_set: DataSet, root: Path) -> None:
    """Tiny drawings for every class, in the real layout."""
    place = root / data_set.place
    begin(place, data_set.name)
    for split, folder in SPLITS.get(data_set.name, ONE_SPLIT).items():
        for label, name in enumerate(data_set.labels):
            (place / folder / name).mkdir(parents=True, exist_ok=True)
            for number in range(DRAWN[split]):
                file = f"{split}_{label:04d}_{number}.{ENDINGS.get(data_set.name, 'jpg')}"
                _drawn(data_set.name, label, number).save(place / folder / name / file)


def _drawn(data_set: str, label: int, number: int) -> Image.Image:
    image = picture(label, DOMAINS.get(data_set, 0), number, SIDE)
    return ImageOps.expand(image, BORDER, "red") if data_set == "objectnet" else image
