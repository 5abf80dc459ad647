"""The tree of your own data, <domain>/<class>/<image>, read and checked. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from carft.core.errors import CorruptFile, UserError
from carft.data.fixtures import begin, picture
from carft.data.folder.splits import SPLITS, split_of, splits_of
from carft.data.folder.table import TABLES, read_table
from carft.data.folder.tree import ALONE, ALONE_PROMPT, GROUP, STEM, Tree, checked_classes, group_of
from carft.data.folder.words import class_words, domain_prompts
from carft.data.sets import DataSet, Index
from carft.data.trees import IMAGES

CLASS_NAMES, CONTEXTS, SPLIT = "classnames.json", "contexts.json", "split.json"
#: names of folders that are taken for splits where all folders are called so
SPLIT_FOLDERS = {*SPLITS, "valid", "validation"}


def read(root: Path, group: str = "") -> Tree:
    """Return the tree below ``root``, or the one that a table lists. group: pattern of groups in names of files.

    Raises ``UserError`` for an invalid or ambiguous tree or table.
    """
    root = root.resolve()
    if root.suffix.lower() in TABLES and not root.is_dir():
        return read_table(root, group)
    if not root.is_dir():
        raise UserError(f"There is no folder '{root}'.", "It must hold <domain>/<class>/<image> (docs/folder.md).")
    return _read(root, group, _stamp(root))


def _stamp(root: Path) -> tuple[tuple[str, int], ...]:
    """Return modification times of folders and JSON files, the cache key of :func:`_read`."""
    folders = [root, *(p for p in sorted(root.iterdir()) if p.is_dir())]
    folders += [p for d in folders[1:] for p in sorted(d.iterdir()) if p.is_dir()]
    notes = [root / name for name in (CLASS_NAMES, CONTEXTS, SPLIT) if (root / name).is_file()]
    return tuple((str(p), p.stat().st_mtime_ns) for p in (*folders, *notes))


@lru_cache(maxsize=8)
def _read(root: Path, group: str, stamp: object) -> Tree:
    places = _places(root)
    classes = checked_classes(root, {domain: _folders(place, root) for domain, place in places.items()})
    files = {domain: [_images(place / name, root) for name in classes] for domain, place in places.items()}
    images = {domain: _index(place, classes, files[domain], group) for domain, place in places.items()}
    notes = {name: _note(root / name) for name in (CLASS_NAMES, CONTEXTS, SPLIT)}
    prompts = notes[CONTEXTS] or {}
    if tuple(places) == (ALONE,):
        prompts = {ALONE: ALONE_PROMPT, **prompts}
    return Tree(
        root=root,
        domains=tuple(places),
        folders=classes,
        words=class_words(classes, notes[CLASS_NAMES] or {}, root / CLASS_NAMES),
        prompts=domain_prompts(tuple(places), prompts, root / CONTEXTS),
        images=images,
        splits=splits_of({one for index in images.values() for one in index.groups}, notes[SPLIT], root / SPLIT),
        digest=_digest(root, images, notes),
        unit=GROUP if group else STEM,
    )


def _places(root: Path) -> dict[str, Path]:
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
            f"List the images in a table with the column split (docs/folder.md), or name the splits in {SPLIT}.",
        )
    return {name: root / name for name in folders}


def _entries(folder: Path, root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder by name, without hidden files. Raises ``UserError`` for a link out of the tree."""
    with os.scandir(folder) as found:
        entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in entries:
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise UserError(
                f"'{entry.path}' is a link that leads out of '{root}'.",
                "Copy its target into the folder: files outside are not part of the version of the data.",
            )
        yield entry


def _folders(folder: Path, root: Path) -> tuple[str, ...]:
    return tuple(entry.name for entry in _entries(folder, root) if entry.is_dir())


def _images(folder: Path, root: Path) -> list[str]:
    entries = list(_entries(folder, root))
    if inner := [e.name for e in entries if e.is_dir()]:
        raise UserError(
            f"'{folder}' holds the folder '{inner[0]}' where images should be.",
            "The tree has two levels, <domain>/<class>/<image>: move the images up or the folder away.",
        )
    found = [e.name for e in entries if e.name.lower().endswith(IMAGES)]
    if not found:
        raise UserError(
            f"There is no image in '{folder}'.", f"Images end in {', '.join(IMAGES)}. Add some or delete the class."
        )
    return found


def _index(folder: Path, classes: Sequence[str], files: Sequence[Sequence[str]], group: str) -> Index:
    rows = [(label, name) for label, names in enumerate(files) for name in names]
    return Index(
        tuple(folder / classes[label] / name for label, name in rows),
        tuple(label for label, _ in rows),
        tuple(group_of(folder / classes[label] / name, group) for label, name in rows),
    )


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


def _digest(root: Path, images: Mapping[str, Index], notes: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
    for index in images.values():
        for path in index.paths:
            digest.update(f"{path.relative_to(root).as_posix()}\t{path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return domain -> images."""
    return dict(read(root / data_set.folder / data_set.table).images)


def fixture(data_set: DataSet, root: Path) -> None:
    """Write a small example tree: three domains with the same drawings.

    The stems are chosen so that every class has images in each split.
    """
    folder = root / data_set.folder
    begin(folder, data_set.name)
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
