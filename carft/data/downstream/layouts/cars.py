"""Stanford Cars: cars_train/, cars_test/ with images, and MATLAB tables of (file name, class id from 1)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.io import savemat

from carft.data.downstream.layouts.shared import damaged, drawings, index_of, save, variable
from carft.data.sets import DataSet, Index

TABLES = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
FOLDERS = {"train": "cars_train", "test": "cars_test"}
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return training and test images; class ids are read through the set's own list of names."""
    base, names = root / data_set.folder, classes(data_set, root)
    splits = {}
    for split, file in TABLES.items():
        rows = np.atleast_1d(variable(base / file, "annotations"))
        if not {"fname", "class"} <= set(rows.dtype.names or ()):
            raise damaged(base / file)
        ids = [int(number) for number in rows["class"]]
        if not all(1 <= number <= len(names) for number in ids):
            raise damaged(base / file)
        paths = [base / FOLDERS[split] / str(name) for name in rows["fname"]]
        splits[split] = list(zip(paths, [names[number - 1] for number in ids], strict=True))
    return index_of(data_set, root, splits)


def classes(data_set: DataSet, root: Path) -> list[str]:
    """Return the names in cars_meta.mat, by class id."""
    names = variable(root / data_set.folder / "devkit" / "cars_meta.mat", "class_names")
    return [str(name).strip() for name in np.atleast_1d(names)]


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a few images per class and split."""
    base = root / data_set.folder
    rows: dict[str, list[tuple]] = defaultdict(list)
    for split, label, _, image in drawings(data_set):
        name = f"{len(rows[split]) + 1:05d}.jpg"
        rows[split].append((0, 0, *image.size, label + 1, name))
        save(image, base / FOLDERS[split] / name)
    kind = [*((name, object) for name in BOX), ("class", object), ("fname", object)]
    (base / "devkit").mkdir(exist_ok=True)
    for split, table in rows.items():
        savemat(base / TABLES[split], {"annotations": np.array([table], dtype=kind)})
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array([data_set.labels], dtype=object)})
