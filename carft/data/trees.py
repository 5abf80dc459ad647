"""Trees of class folders, as many data sets come: <folder>/<class>/<image file>. No torch."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from carft.data.sets import DataSet, Index
from carft.errors import Refusal

#: file name endings that are read as images, in lower case
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def image_names(folder: Path) -> list[str]:
    """Names of the image files in a folder, sorted; hidden files are no images."""
    with os.scandir(folder) as entries:
        found = [e.name for e in entries if not e.name.startswith(".") and e.name.lower().endswith(IMAGES)]
    return sorted(found)


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def class_tree(
    data_set: DataSet, folder: Path, classes: Sequence[str], other_folders: bool = False, by_file: bool = False
) -> Index:
    """The images below ``folder``, class by class in the order of ``classes``, the class folders' names.

    A group is one image, named <class>/<file>; with ``by_file`` it is named by its file alone, so that copies of one
    image in two classes are one group. ``Refusal`` when a class folder is missing or empty, and, unless
    ``other_folders``, when there is a folder that is no class.
    """
    require_folder(data_set, folder)
    present = folder_names(folder)
    if not other_folders and (extra := sorted(set(present) - set(classes))):
        raise Refusal(
            f"{data_set.name} has {len(classes)} classes, and '{folder}' holds {len(present)} folders: "
            f"'{extra[0]}' is none of them.",
            f"Put the set back as it comes. {obtain(data_set)}",
        )
    names = {name: image_names(folder / name) if name in present else [] for name in classes}
    _require_whole(data_set, folder, [name for name in classes if not names[name]], len(classes))
    rows = [(label, name, file) for label, name in enumerate(classes) for file in names[name]]
    return Index(
        paths=tuple(folder / name / file for _, name, file in rows),
        labels=tuple(label for label, _, _ in rows),
        groups=tuple(file if by_file else f"{name}/{file}" for _, name, file in rows),
    )


def require_folder(data_set: DataSet, folder: Path) -> None:
    """``Refusal`` unless the folder is there: which set is missing, where it was looked for, how to get it."""
    if not folder.is_dir():
        raise Refusal(f"{data_set.name} is not on this machine: there is no folder '{folder}'.", obtain(data_set))


def _require_whole(data_set: DataSet, folder: Path, empty: Collection[str], count: int) -> None:
    if empty:
        raise Refusal(
            f"{data_set.name} is not whole: {len(empty)} of its {count} class folders in '{folder}' are missing or "
            f"hold no image, '{next(iter(empty))}' first.",
            obtain(data_set),
        )


def obtain(data_set: DataSet) -> str:
    """How to get a data set, in sentences."""
    return f"Get it: {data_set.source} Licence: {data_set.licence}"
