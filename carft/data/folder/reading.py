"""Your own data are read: from a folder tree or a table, or from an index where there are many images. No torch."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from carft.core.errors import UserError
from carft.core.files import require_text
from carft.data.folder.folders import CLASS_NAMES, CONTEXTS, NOTES, draw_example, list_folder, read_notes
from carft.data.folder.images import ImageTable, class_words, domain_prompts, images_by_domain, splits_by_group
from carft.data.folder.naming import PREFIX
from carft.data.folder.tables import EXAMPLE, TABLES, list_table
from carft.data.indexing import SPOT, Listed, indexed
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
        folders = [root, *(root / name for name in folder_names(root))]
        folders += [folder / name for folder in folders[1:] for name in folder_names(folder)]
        files = [*folders, *(root / name for name in NOTES if (root / name).is_file())]
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
    notes = read_notes(root) if root.is_dir() else {}
    if not _is_large(root):
        return _listed(root, group, notes)
    key = hashlib.sha256(json.dumps([group, notes], sort_keys=True).encode()).hexdigest()
    data_set = data_set_at(root, name=f"own:{root}?{group}", version=key)

    def list_images() -> Listed:
        table = _listed(root, group, notes)
        facts = {name: getattr(table, name) for name in ("splits", "digest", "unit", "unread")}
        return table.images, {"classes": table.folders, **facts}

    found = indexed(data_set, Path(), full=full, list_images=list_images)
    facts = {**found.facts, "unread": tuple(found.facts["unread"])}
    return _image_table(root, notes, facts.pop("classes"), found.splits, **facts)


def _is_large(root: Path) -> bool:
    """Whether a table is longer, or a tree has more files, than is looked at each time; no image is looked at."""
    if root.is_file():
        return root.stat().st_size > LARGE
    counts = itertools.accumulate(len(files) for _, _, files in os.walk(root))
    return any(count > SPOT for count in counts)


def _listed(root: Path, group: str, notes: Mapping[str, Any]) -> ImageTable:
    listing = list_folder(root, group, notes) if root.is_dir() else list_table(root, group)
    facts = {name: getattr(listing, name) for name in ("digest", "unit", "unread")}
    splits = splits_by_group(root, listing.rows)
    return _image_table(root, notes, listing.classes, images_by_domain(listing), splits=splits, **facts)


def _image_table(
    root: Path, notes: Mapping[str, Any], classes: Sequence[str], images: Mapping[str, Index], **facts: Any
) -> ImageTable:
    """facts: the other fields of the table."""
    domains, is_tree = tuple(images), root.is_dir()
    return ImageTable(
        root=root,
        domains=domains,
        folders=tuple(classes),
        words=class_words(classes, notes.get(CLASS_NAMES) or {}, root / CLASS_NAMES if is_tree else root),
        prompts=domain_prompts(domains, notes.get(CONTEXTS) or {}, root / CONTEXTS if is_tree else root),
        images=images,
        **facts,
    )


class OwnFiles(DataSet):
    """A folder tree or a table as a data set. Its splits are the domains."""

    def listed(self, root: Path) -> dict[str, Index]:
        return dict(read(root / self.folder / self.table).images)

    def draw(self, root: Path) -> None:
        draw_example(root / self.folder)


def data_set_at(root: Path, **facts: Any) -> OwnFiles:
    """Return the folder tree or table at ``root`` as a data set. facts: other fields of it."""
    is_table = root.is_file()
    return OwnFiles(
        folder=str(root.parent if is_table else root),
        table=root.name if is_table else "",
        measures="Your own data",
        licence=LICENCE,
        source=f"the {'table' if is_table else 'folder'} '{root}'",
        **{"name": f"{PREFIX}{root}", "classes": (), "counts": {}, **facts},
    )
