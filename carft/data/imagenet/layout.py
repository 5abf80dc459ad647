"""Layout of ImageNet and its suites. No torch."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from carft.data.fixtures import picture
from carft.data.sets import DataSet, Index
from carft.data.trees import class_tree

#: split -> its folder; the suites have one split without a folder
SPLITS = {"imagenet": {"train": "train", "test": "val"}}
ONE_SPLIT = {"test": "."}
#: split -> images of a class in a fixture; training needs two, so that one can be held out
DRAWN = {"train": 2, "test": 1}
#: in fixtures: domain of the drawings, and file name extension
DOMAINS = {"imagenet-r": 1, "imagenet-a": 2, "imagenet-sketch": 3, "objectnet": 4}
ENDINGS = {"imagenet": "JPEG", "imagenet-v2": "jpeg", "imagenet-sketch": "JPEG", "objectnet": "png"}
SIDE = 16
#: pixels of the red frame of an ObjectNet image, which are cut off
BORDER = 2


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return split -> images. Folders of ObjectNet outside the 113 classes are ignored."""
    others = data_set.name == "objectnet"
    return {
        split: class_tree(data_set, root, root / data_set.folder / folder, other_folders=others)
        for split, folder in SPLITS.get(data_set.name, ONE_SPLIT).items()
    }


def fixture(data_set: DataSet, root: Path) -> None:
    """Write small drawings for every class, in the real layout."""
    base = root / data_set.folder
    for split, folder in SPLITS.get(data_set.name, ONE_SPLIT).items():
        for label, name in enumerate(data_set.labels):
            (base / folder / name).mkdir(parents=True, exist_ok=True)
            for number in range(DRAWN[split]):
                file = f"{split}_{label:04d}_{number}.{ENDINGS.get(data_set.name, 'jpg')}"
                _drawn(data_set.name, label, number).save(base / folder / name / file)


def _drawn(data_set: str, label: int, number: int) -> Image.Image:
    image = picture(label, DOMAINS.get(data_set, 0), number, SIDE)
    return ImageOps.expand(image, BORDER, "red") if data_set == "objectnet" else image
