"""Oxford Flowers-102: jpg/image_<number>.jpg, labels in imagelabels.mat, split numbers in setid.mat."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.io import savemat

from carft.data.downstream.layouts.shared import damaged, drawings, index_of, save, variable
from carft.data.sets import DataSet, Index

VARIABLES = {"train": "trnid", "val": "valid", "test": "tstid"}


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return the three splits. The official training split is the small one."""
    base = root / data_set.folder
    labels = _labels(base)
    splits = {}
    for split, name in VARIABLES.items():
        numbers = np.atleast_1d(variable(base / "setid.mat", name)).tolist()
        if not all(1 <= number <= len(labels) for number in numbers):
            raise damaged(base / "setid.mat")
        splits[split] = [(_image(base, number), labels[number - 1]) for number in numbers]
    return index_of(data_set, root, splits)


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the numbers in imagelabels.mat."""
    return sorted(set(_labels(root / data_set.folder)), key=int)


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per class and split."""
    base = root / data_set.folder
    labels: list[int] = []
    numbers: dict[str, list[int]] = defaultdict(list)
    for split, label, _, image in drawings(data_set):
        labels.append(label + 1)
        numbers[split].append(len(labels))
        save(image, _image(base, len(labels)))
    savemat(base / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    savemat(base / "setid.mat", {VARIABLES[split]: np.array([ids], np.uint16) for split, ids in numbers.items()})


def _labels(base: Path) -> list[str]:
    return [str(int(label)) for label in np.atleast_1d(variable(base / "imagelabels.mat", "labels"))]


def _image(base: Path, number: int) -> Path:
    return base / "jpg" / f"image_{number:05d}.jpg"
