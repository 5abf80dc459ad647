"""Trees of class folders, as many data sets come: <folder>/<class>/<image file>. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from carft.core.errors import UserError
from carft.data.sets import DataSet, Index

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
    data_set: DataSet, root: Path, folder: Path, other_folders: bool = False, by_file: bool = False
) -> Index:
    """The images below ``folder``, class by class in the order of ``data_set.labels``, the class folders' names.

    A group is one image, named <class>/<file>; with ``by_file`` it is named by its file alone, so that copies of one
    image in two classes are one group. ``UserError`` when a class folder is missing or empty, and, unless
    ``other_folders``, when there is a folder that is no class.
    """
    if not folder.is_dir():
        raise data_set.missing(root, folder)
    present = folder_names(folder)
    if not other_folders and (extra := sorted(set(present) - set(data_set.labels))):
        raise UserError(
            f"{data_set.name} has {len(data_set.labels)} classes, and '{folder}' holds {len(present)} folders: "
            f"'{extra[0]}' is no class of it.",
            "Move that folder away, or unpack the set again.",
        )
    names = {name: image_names(folder / name) if name in present else [] for name in data_set.labels}
    if empty := [name for name in data_set.labels if not names[name]]:
        raise UserError(
            f"{data_set.name} is not whole: {len(empty)} of its {len(names)} class folders in '{folder}' are missing "
            f"or hold no image, '{empty[0]}' first.",
            f"Get it again. Its source: {data_set.source}. Licence: {data_set.licence}.",
        )
    rows = [(label, name, file) for label, name in enumerate(data_set.labels) for file in names[name]]
    return Index(
        paths=tuple(folder / name / file for _, name, file in rows),
        labels=tuple(label for label, _, _ in rows),
        groups=tuple(file if by_file else f"{name}/{file}" for _, name, file in rows),
    )
