"""A folder tree <domain>/<class>/<image>, or <class>/<image>, read into a table of images. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from carft.core.commands import typed
from carft.core.errors import MANY, UserError
from carft.data.folder.images import ALONE, GROUP, SPLITS, STEM, ImageTable, Row, group_of
from carft.data.indexing import statuses
from carft.data.trees import CONVERT, IMAGES, entries_of

#: names of folders that are taken for splits where all folders are called so
SPLIT_FOLDERS = {*SPLITS, "valid", "validation"}
#: files that 0.1.0 read beside the domains; digests still say that there are none, so that versions stay
FORMER = ("classnames.json", "contexts.json", "split.json")


def list_folder(root: Path, pattern: str) -> ImageTable:
    """Return the images of a tree. pattern: of groups in names of files.

    Raises ``UserError`` for an invalid or ambiguous tree.
    """
    if former := next((root / name for name in FORMER if (root / name).is_file()), None):
        raise UserError(
            f"'{former}' is not read.",
            "Class names and prompts stand in the tasks file, splits in a table with the column split "
            "(docs/folder.md). Then take the file away.",
        )
    rows, unread = [], Counter[str]()
    for domain, place in _domain_folders(root).items():
        if not (names := _folders(place, root)):
            raise UserError(
                f"The domain '{domain}' of '{root}' has no folder of a class.",
                "Lay its images out as <domain>/<class>/<image>, or move its folder away.",
            )
        for name in names:
            paths, others = _images(place / name, root)
            rows += [Row(domain, path, name, domain, group_of(path, pattern), "") for path in paths]
            unread.update(Path(other).suffix.lower() or other for other in others)
    digest = hashlib.sha256(json.dumps(dict.fromkeys(FORMER), sort_keys=True).encode())
    for row, (size, _) in zip(rows, statuses([row.path for row in rows]), strict=True):
        digest.update(f"{row.path.relative_to(root).as_posix()}\t{size}\n".encode())
    counts = ", ".join(f"{count} {ending}" for ending, count in unread.most_common(MANY))
    sentences = [f"Files that are not read: {counts}. {CONVERT}"] if unread else []
    return ImageTable.of(root, rows, digest.hexdigest()[:16], GROUP if pattern else STEM, sentences)


def _domain_folders(root: Path) -> dict[str, Path]:
    """Return domain -> the folder that holds its class folders: ``root`` alone where it holds those itself."""
    folders = _folders(root, root)
    inside = [entry for name in folders for entry in _entries(root / name, root)]
    if any(entry.name.lower().endswith(IMAGES) for entry in inside) and not any(entry.is_dir() for entry in inside):
        return {ALONE: root}
    if len(folders) < 2:
        raise UserError(
            f"'{root}' has {'one domain only' if folders else 'no domain'}, and robustness under shift needs two.",
            "Lay the images out as <domain>/<class>/<image>, for example photo/cat/1.jpg and sketch/cat/1.jpg, or "
            "without domains as <class>/<image>.",
        )
    if set(folders) <= SPLIT_FOLDERS:
        raise UserError(
            f"The folders of '{root}' are called {', '.join(folders)}: they look like splits, not like domains.",
            "List the images in a table with the column split (docs/folder.md).",
        )
    return {name: root / name for name in folders}


def _entries(folder: Path, root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder by name, without hidden files. Raises ``UserError`` for a link out of the tree."""
    for entry in entries_of(folder):
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise UserError(
                f"'{entry.path}' is a link that leads out of '{root}'.",
                "Copy its target into the folder: files outside are not part of the version of the data.",
            )
        yield entry


def _folders(folder: Path, root: Path) -> tuple[str, ...]:
    return tuple(entry.name for entry in _entries(folder, root) if entry.is_dir())


def _images(folder: Path, root: Path) -> tuple[list[Path], list[str]]:
    """Return the images of a class folder, and the names of its other files."""
    entries = list(_entries(folder, root))
    if inner := [entry.name for entry in entries if entry.is_dir()]:
        raise UserError(
            f"'{folder}' holds the folder '{inner[0]}' where images should be.",
            "The tree has two levels, <domain>/<class>/<image>: move the images up or the folder away. Several tasks, "
            f"<task>/<domain>/<class>/<image>, become a tasks file with: {typed('init', 'FOLDER')}",
        )
    images = [folder / entry.name for entry in entries if entry.name.lower().endswith(IMAGES)]
    others = [entry.name for entry in entries if not entry.name.lower().endswith(IMAGES)]
    if not images:
        unread = f"; its {len(others)} files are not read, '{others[0]}' first" if others else ""
        raise UserError(f"There is no image in '{folder}'{unread}.", f"{CONVERT} Or delete the class.")
    return images, others
