"""The tree of your own data, <domain>/<class>/<image>, read and checked. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from carft.core.errors import CorruptFile, UserError
from carft.core.files import require_text
from carft.data.fixtures import picture
from carft.data.folder.listing import Listed, listed
from carft.data.folder.splits import split_of, splits_of
from carft.data.folder.table import TABLES, read_table
from carft.data.folder.tree import GROUP, STEM, Tree, group_of
from carft.data.folder.words import class_words, domain_prompts
from carft.data.sets import DataSet, Index
from carft.data.trees import folder_names

CLASS_NAMES, CONTEXTS, SPLIT = "classnames.json", "contexts.json", "split.json"


def read(root: Path, group: str = "") -> Tree:
    """Return the tree below ``root``, or the one that a table lists. group: pattern of groups in names of files.

    Raises ``UserError`` for an invalid or ambiguous tree or table.
    """
    root = root.resolve()
    require_text(root)
    if root.suffix.lower() in TABLES and not root.is_dir():
        return read_table(root, group)
    if not root.is_dir():
        problem = f"'{root}' is neither a folder nor a table." if root.exists() else f"There is no folder '{root}'."
        tables = f"A table ends in {' or '.join(TABLES)}."
        raise UserError(problem, f"A folder must hold <domain>/<class>/<image> (docs/folder.md). {tables}")
    return _read(root, group, _stamp(root))


def _stamp(root: Path) -> tuple[tuple[str, int], ...]:
    """Return modification times of folders and JSON files, the cache key of :func:`_read`."""
    folders = [root, *(root / name for name in folder_names(root))]
    folders += [folder / name for folder in folders[1:] for name in folder_names(folder)]
    notes = [root / name for name in (CLASS_NAMES, CONTEXTS, SPLIT) if (root / name).is_file()]
    return tuple((str(p), p.stat().st_mtime_ns) for p in (*folders, *notes))


@lru_cache(maxsize=8)
def _read(root: Path, group: str, stamp: object) -> Tree:
    found = listed(root)
    images = {domain: _grouped(index, group) for domain, index in found.images.items()}
    domains, classes = tuple(images), _class_folders(next(iter(images.values())))
    notes = {name: _note(root / name) for name in (CLASS_NAMES, CONTEXTS, SPLIT)}
    return Tree(
        root=root,
        domains=domains,
        folders=classes,
        words=class_words(classes, notes[CLASS_NAMES] or {}, root / CLASS_NAMES),
        prompts=domain_prompts(domains, notes[CONTEXTS] or {}, root / CONTEXTS),
        images=images,
        splits=splits_of({one for index in images.values() for one in index.groups}, notes[SPLIT], root / SPLIT),
        digest=_digest(found, notes),
        unit=GROUP if group else STEM,
    )


def _grouped(index: Index, pattern: str) -> Index:
    """Return images with the groups that a pattern finds, where there is one."""
    return replace(index, groups=tuple(group_of(path, pattern) for path in index.paths)) if pattern else index


def _class_folders(index: Index) -> tuple[str, ...]:
    """Return the names of the class folders by label, from the images of a domain, which has all of them."""
    firsts = {label: row for row, label in reversed(list(enumerate(index.labels)))}
    return tuple(index.paths[firsts[label]].parent.name for label in sorted(firsts))


def _note(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file of the tree; None if it does not exist."""
    if not path.is_file():
        return None
    if not path.resolve().is_relative_to(path.parent):
        raise UserError(f"'{path}' is a link that leads out of '{path.parent}'.", "Copy the file into the folder.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode()  # a lone surrogate is not text
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptFile(path, str(error), "It must be one JSON object.") from error
    if not isinstance(content, dict):
        raise UserError(f"'{path}' must be one JSON object, not a {type(content).__name__}.", "See docs/folder.md.")
    return content


def _digest(found: Listed, notes: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
    for name, size in zip(found.names, found.sizes, strict=True):
        digest.update(f"{name}\t{size}\n".encode())
    return digest.hexdigest()[:16]


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return domain -> images."""
    return dict(read(root / data_set.folder / data_set.table).images)


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a small example tree: three domains with the same drawings.

    The stems are chosen so that every class has images in each split.
    """
    folder = root / data_set.folder
    for domain, (name, ending) in enumerate({"photo": "jpg", "scan": "png", "sketch": "webp"}.items()):
        for label, kind in enumerate(("cat", "dog", "guinea_pig")):
            (folder / name / kind).mkdir(parents=True, exist_ok=True)
            for number, stem in enumerate(_stems(kind)):
                picture(label, domain, number).save(folder / name / kind / f"{stem}.{ending}")
    (folder / CONTEXTS).write_text(json.dumps({"scan": "a scan of a picture of a {}."}), encoding="utf-8")


def _stems(kind: str) -> list[str]:
    """Return twelve stems of a class: six for training, three each for validation and test."""
    wanted = {"train": 6, "val": 3, "test": 3}
    found: list[str] = []
    for number in range(1000):
        split = split_of(stem := f"{kind}-{number:03d}")
        if wanted[split]:
            wanted[split] -= 1
            found.append(stem)
    return found
