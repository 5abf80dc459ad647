"""Trees of class folders, <folder>/<class>/<image file>. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from carft.core.errors import UserError
from carft.core.heartbeat import heartbeat
from carft.data.sets import DataSet, Index

#: file name extensions of images, in lower case
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def image_names(folder: Path) -> list[str]:
    """Return the names of the image files in a folder, sorted, without hidden files."""
    heartbeat()
    with os.scandir(folder) as entries:
        found = [e.name for e in entries if not e.name.startswith(".") and e.name.lower().endswith(IMAGES)]
    return sorted(found)


def folder_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def class_tree(
    data_set: DataSet, root: Path, folder: Path, other_folders: bool = False, by_file: bool = False
) -> Index:
    """Return the images below ``folder``, class by class in the order of ``data_set.labels``, the folder names.

    A group is one image, named <class>/<file>. With ``by_file`` it is named <file>, so that copies of one image in two
    classes are one group. Raises ``UserError`` if a class folder is missing or empty. Raises ``UserError`` for a folder
    that is not a class, unless ``other_folders``.
    """
    if not folder.is_dir():
        raise data_set.missing(root, folder)
    present = folder_names(folder)
    if not other_folders and (extra := sorted(set(present) - set(data_set.labels))):
        raise UserError(
            f"{data_set.name} has {len(data_set.labels)} classes, and '{folder}' holds {len(present)} folders: "
            f"'{extra[0]}' is not one of its classes.",
            "Move that folder away, or unpack the set again.",
        )
    names = {name: image_names(folder / name) if name in present else [] for name in data_set.labels}
    if empty := [name for name in data_set.labels if not names[name]]:
        raise UserError(
            f"{data_set.name} is incomplete: {len(empty)} of its {len(names)} class folders in '{folder}' are missing "
            f"or hold no image, '{empty[0]}' first.",
            f"Get it again. Its source: {data_set.source}. Licence: {data_set.licence}.",
        )
    rows = [(label, name, file) for label, name in enumerate(data_set.labels) for file in names[name]]
    return Index(
        paths=tuple(folder / name / file for _, name, file in rows),
        labels=tuple(label for label, _, _ in rows),
        groups=tuple(file if by_file else f"{name}/{file}" for _, name, file in rows),
    )
