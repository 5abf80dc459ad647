"""Trees of class folders, <folder>/<class>/<image file>. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import require_text
from carft.core.heartbeat import heartbeat
from carft.data.sets import DataSet, Index

#: file name extensions of images, in lower case
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
#: what to do with images of other formats
CONVERT = f"Images end in {', '.join(IMAGES)}. Convert others, such as .heic, to JPEG or PNG."


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder by name, without hidden ones.

    Raises ``UserError`` for a folder that cannot be read and for a name that is not UTF-8.
    """
    heartbeat()
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"The folder '{folder}' cannot be read: {error.strerror}.", "Allow it with chmod, or move the folder away."
        ) from error
    for entry in shown:
        if not entry.name.isascii():
            require_text(entry.path)
    return sorted(shown, key=lambda entry: entry.name)


def image_names(folder: Path) -> list[str]:
    """Return the names of the image files in a folder, sorted, without hidden files."""
    return [entry.name for entry in entries_of(folder) if entry.name.lower().endswith(IMAGES)]


def folder_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones."""
    return [entry.name for entry in entries_of(folder) if entry.is_dir()]


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
