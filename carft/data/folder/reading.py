"""Your own data are read: from a folder tree or a table, or from an index where there are many images. No torch."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from carft.core.errors import UserError
from carft.core.files import require_text
from carft.data.folder.folders import list_folder
from carft.data.folder.images import ImageTable
from carft.data.folder.tables import EXAMPLE, TABLES, list_table
from carft.data.indexing import SPOT, indexed
from carft.data.sets import DataSet, Index
from carft.data.trees import folder_names

#: bytes of a table above which it is read from an index
LARGE = 256 * 2**10
LICENCE = "Yours; carft copies nothing"


def read(root: Path, group: str = "", full: bool = False) -> ImageTable:
    """Return the images of a folder tree, or those that a table lists. Many are read from an index, made if needed.

    group: pattern of groups in names of files, where no column names them. full: compare the index with size and time
    of every image. Raises ``UserError`` for an invalid or ambiguous tree or table.
    """
    root = root.resolve()
    require_text(root)
    if root.is_dir():
        files = [root, *(root / name for name in folder_names(root))]
        files += [folder / name for folder in files[1:] for name in folder_names(folder)]
    elif root.suffix.lower() in TABLES:
        if not root.is_file():
            raise UserError(f"There is no table '{root}'.", EXAMPLE)
        files = [root]
    else:
        problem = f"'{root}' is neither a folder nor a table." if root.exists() else f"There is no folder '{root}'."
        tables = f"A table ends in {' or '.join(TABLES)}."
        raise UserError(problem, f"A folder must hold <domain>/<class>/<image> (docs/folder.md). {tables}")
    return _read(root, group, tuple((str(path), path.stat().st_mtime_ns) for path in files), full)


@lru_cache(maxsize=8)
def _read(root: Path, group: str, stamp: object, full: bool) -> ImageTable:
    """stamp: modification times, which make changed data another key of the cache."""
    if not _is_large(root):
        return _listed(root, group)
    found = indexed(own_files(root, group), Path(), full=full)
    facts: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in found.facts.items()}
    return ImageTable(root, found.splits, **facts)


def _is_large(root: Path) -> bool:
    """Whether a table is longer, or a tree has more files, than is looked at each time; no image is looked at."""
    if root.is_file():
        return root.stat().st_size > LARGE
    counts = itertools.accumulate(len(files) for _, _, files in os.walk(root))
    return any(count > SPOT for count in counts)


def _listed(root: Path, group: str) -> ImageTable:
    return list_folder(root, group) if root.is_dir() else list_table(root, group)


@dataclass(frozen=True, eq=False)
class OwnFiles(DataSet):
    """A folder tree or a table as a data set. Its splits are the domains."""

    group: str = ""
    """Pattern of groups in names of files."""

    def listed(self, root: Path) -> dict[str, Index]:
        return self.listed_with_facts(root)[0]

    def listed_with_facts(self, root: Path) -> tuple[dict[str, Index], dict[str, Any]]:
        table = _listed(root / self.folder / self.table, self.group)
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
