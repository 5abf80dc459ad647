"""Your own data are read: from a folder tree or a table, through an index. No torch.

A tree is <domain>/<class>/<image>, or <class>/<image>.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from carft.core.commands import typed
from carft.core.errors import MANY, UserError
from carft.core.files import require_text
from carft.data.folder.images import ALONE, GROUP, SPLITS, STEM, ImageTable, Row, group_of
from carft.data.folder.tables import TABLES, list_table
from carft.data.indexing import indexed, statuses
from carft.data.sets import DataSet, Index
from carft.data.trees import CONVERT, IMAGES, entries_of, folder_names

LICENCE = "Yours; carft copies nothing"
#: names of folders that are taken for splits where all folders are called so
SPLIT_FOLDERS = {*SPLITS, "valid", "validation"}
#: files that 0.1.0 read beside the domains; digests still say that there are none, so that versions stay
FORMER = ("classnames.json", "contexts.json", "split.json")


def read(root: Path, group: str = "", decoded: bool = False) -> ImageTable:
    """Return the images of a folder tree, or those that a table lists, from an index that is made if needed.

    group: pattern of groups in names of files, where no column names them. decoded: also find the images that cannot
    be decoded. Raises ``UserError`` for an invalid or ambiguous tree or table.
    """
    root = root.resolve()
    require_text(root)
    if root.is_dir():
        files = [root, *(root / name for name in folder_names(root))]
        files += [folder / name for folder in files[1:] for name in folder_names(folder)]
    elif root.is_file() and root.suffix.lower() in TABLES:
        files = [root]
    else:
        raise UserError(
            f"There is no folder and no table '{root}'.",
            f"A folder holds <domain>/<class>/<image>, and a table ends in {' or '.join(TABLES)} (docs/folder.md).",
        )
    return _read(root, group, tuple((str(path), path.stat().st_mtime_ns) for path in files), decoded)


@lru_cache(maxsize=8)
def _read(root: Path, group: str, stamp: object, decoded: bool) -> ImageTable:
    """stamp: modification times, which make changed data another key of the cache."""
    index = indexed(own_files(root, group), Path(), decoded)
    facts: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in index.facts.items()}
    return ImageTable(root, index.splits, **facts, unreadable=frozenset(index.unreadable))


@dataclass(frozen=True, eq=False)
class OwnFiles(DataSet):
    """A folder tree or a table as a data set. Its splits are the domains."""

    group: str = ""
    """Pattern of groups in names of files."""

    def listed_with_facts(self, root: Path) -> tuple[dict[str, Index], dict[str, Any]]:
        lister = list_table if self.table else list_folder
        table = lister(root / self.folder / self.table, self.group)
        facts = {name: getattr(table, name) for name in ("classes", "splits", "digest", "unit", "unread")}
        return dict(table.images), facts


def own_files(root: Path, group: str = "") -> OwnFiles:
    """Return the folder tree or table at ``root`` as a data set. group: as of :func:`read`."""
    is_table = root.is_file()
    return OwnFiles(
        name=f"{root}{f' by {group}' if group else ''}",
        folder=str(root.parent if is_table else root),
        table=root.name if is_table else "",
        measures="Your own data",
        classes=(),
        counts={},
        licence=LICENCE,
        source=f"the {'table' if is_table else 'folder'} '{root}'",
        group=group,
    )


# folder trees


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
    rows, unread = list[Row](), Counter[str]()
    for domain, place in _domain_folders(root).items():
        if not (classes := _folders(place, root)):
            raise UserError(
                f"The domain '{domain}' of '{root}' has no folder of a class.",
                "Lay its images out as <domain>/<class>/<image>, or move its folder away.",
            )
        for name in classes:
            images = []
            for entry in _entries(place / name, root):
                if entry.is_dir():
                    raise UserError(
                        f"'{place / name}' holds the folder '{entry.name}' where images should be.",
                        "The tree has two levels, <domain>/<class>/<image>: move the images up or the folder away. "
                        f"Several tasks, <task>/<domain>/<class>/<image>, become a tasks file with: "
                        f"{typed('init', 'FOLDER')}",
                    )
                if entry.name.lower().endswith(IMAGES):
                    images.append(place / name / entry.name)
                else:
                    unread[Path(entry.name).suffix.lower() or entry.name] += 1
            if not images:
                raise UserError(f"There is no image in '{place / name}'.", f"{CONVERT} Or delete the class.")
            rows += [Row(domain, path, name, domain, group_of(path, pattern), "") for path in images]
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


def _folders(folder: Path, root: Path) -> list[str]:
    return [entry.name for entry in _entries(folder, root) if entry.is_dir()]


def _entries(folder: Path, root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder by name, without hidden files. Raises ``UserError`` for a link out of the tree."""
    for entry in entries_of(folder):
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise UserError(
                f"'{entry.path}' is a link that leads out of '{root}'.",
                "Copy its target into the folder: files outside are not part of the version of the data.",
            )
        yield entry
