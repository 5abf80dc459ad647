"""A large table of images as an index, which all processes memory-map in place of parsing the table. No torch.

The index lies in :func:`carft.data.indexing.own_folder`. It is made again when the table, a folder of its images, or an
image changed, as the index of a folder is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from carft.data.columns import Column
from carft.data.folder.tree import Tree
from carft.data.folder.words import class_words, domain_prompts
from carft.data.index_file import IndexFile, read_index
from carft.data.index_state import identity, is_current, watched
from carft.data.indexing import making, own_place, rows_of_index
from carft.data.listing import statuses
from carft.data.sets import DataSet, Index

LAYOUT = "carft.data.folder.layout"


def indexed_tree(table: Path, pattern: str, parsed: Callable[[], Tree], full: bool) -> Tree:
    """Return the tree of a table from its index. The index is made if there is none, or if the data changed.

    pattern: of groups, or an empty string; each pattern has an index. parsed: parses the table. full: whether size and
    time of every image are compared, not of some.
    """
    data_set = _data_set(table, pattern)
    path = own_place(data_set, Path())
    if (found := _current(data_set, table, path, full)) is None:
        with making(data_set, Path()):
            if (found := _current(data_set, table, path, full)) is None:  # another process may have made it meanwhile
                found = _index_of(data_set, table, parsed())
                with suppress(OSError):
                    found.write(path)
                    found = read_index(path) or found
    return _tree(table, found)


def _data_set(table: Path, pattern: str) -> DataSet:
    name = f"table:{table}?{pattern}"
    return DataSet(name, str(table.parent), "Your own data", (), {}, "", "", LAYOUT, table=table.name, version=pattern)


def _current(data_set: DataSet, table: Path, path: Path, full: bool) -> IndexFile | None:
    index = read_index(path)
    return index if index is not None and is_current(index, data_set, table.parent, path, full) else None


def _index_of(data_set: DataSet, table: Path, tree: Tree) -> IndexFile:
    made_at, images = time.time(), tree.images.values()
    paths = [path for index in images for path in index.paths]
    splits = [tree.splits[group] for index in images for group in index.groups]
    names = [path.relative_to(table.parent).as_posix() for path in paths]
    note = {
        "identity": identity(data_set),
        "made_at": made_at,
        "domains": {domain: len(index) for domain, index in tree.images.items()},
        "classes": list(tree.folders),
        "digest": tree.digest,
        "unit": tree.unit,
        **watched(data_set, table.parent, names),
    }
    return IndexFile(rows_of_index(images, splits, names, statuses(paths), [None] * len(paths)), note)


def _tree(table: Path, index: IndexFile) -> Tree:
    rows, note, first, images = index.rows, index.note, 0, {}
    paths, groups = Column(rows["path"], table.parent.joinpath), Column(rows["group"], str)
    labels, classes, domains = rows["label"].to_pylist(), tuple(note["classes"]), tuple(note["domains"])
    for domain, count in note["domains"].items():
        span = slice(first, first + count)
        images[domain] = Index(paths[span], tuple(labels[span]), groups[span])
        first += count
    return Tree(
        root=table,
        domains=domains,
        folders=classes,
        words=class_words(classes, {}, table),
        prompts=domain_prompts(domains, {}, table),
        images=images,
        splits=dict(zip(rows["group"].to_pylist(), rows["split"].to_pylist(), strict=True)),
        digest=note["digest"],
        unit=note["unit"],
    )
