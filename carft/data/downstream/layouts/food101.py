"""Food-101: food-101/images/<class>/<name>.jpg, and meta/<split>.json: class -> list of <class>/<name>."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from carft.data.downstream.layouts.shared import damaged, drawings, index_of, save, write_lines
from carft.data.sets import DataSet, Index
from carft.data.trees import folder_names


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return training and test images."""
    base = root / data_set.folder
    splits = {
        split: [
            (base / "images" / f"{name}.jpg", label)
            for label, names in _listed(base / "meta" / f"{split}.json").items()
            for name in names
        ]
        for split in data_set.counts
    }
    return index_of(data_set, root, splits)


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the names of the class folders."""
    return folder_names(root / data_set.folder / "images")


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per class and split."""
    base = root / data_set.folder
    listed: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for split, label, number, image in drawings(data_set):
        word = data_set.labels[label]
        listed[split][word].append(f"{word}/{1000 * label + number}")
        save(image, base / "images" / f"{listed[split][word][-1]}.jpg")
    for split, names in listed.items():
        write_lines(base / "meta" / f"{split}.json", [json.dumps(names)])


def _listed(path: Path) -> dict[str, list[str]]:
    try:
        return {str(label): list(names) for label, names in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise damaged(path) from error
