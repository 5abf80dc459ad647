"""A folder tree <domain>/<class>/<image>, or <class>/<image>, as a listing of images. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from carft.core.commands import typed
from carft.core.errors import MANY, CorruptFile, UserError
from carft.data.fixtures import picture
from carft.data.folder.images import (
    ALONE,
    GROUP,
    SPLITS,
    STEM,
    Listing,
    Row,
    complete_classes,
    group_of,
    require_one_spelling,
    split_of,
)
from carft.data.listing import statuses
from carft.data.trees import CONVERT, IMAGES, entries_of

CLASS_NAMES, CONTEXTS, SPLIT = NOTES = ("classnames.json", "contexts.json", "split.json")
#: names of folders that are taken for splits where all folders are called so
SPLIT_FOLDERS = {*SPLITS, "valid", "validation"}


def list_folder(root: Path, pattern: str, notes: Mapping[str, Any]) -> Listing:
    """Return the images of a tree. pattern: of groups in names of files. notes: of :func:`read_notes`.

    Raises ``UserError`` for an invalid or ambiguous tree.
    """
    places = _domain_folders(root)
    names = {domain: _folders(place, root) for domain, place in places.items()}
    require_one_spelling(root, "class", ((name, domain) for domain, every in names.items() for name in every))
    classes = complete_classes(root, names)
    images, unread = [], Counter[str]()
    for domain, place in places.items():
        for name in classes:
            paths, others = _images(place / name, root)
            images += [(path, name, domain, group_of(path, pattern)) for path in paths]
            unread.update(Path(other).suffix.lower() or other for other in others)
    splits = splits_of({group for *_, group in images}, notes[SPLIT], root / SPLIT)
    rows = [Row(domain, path, name, domain, group, splits[group]) for path, name, domain, group in images]
    counts = ", ".join(f"{count} {ending}" for ending, count in unread.most_common(MANY))
    sentences = (f"Files that are not read: {counts}. {CONVERT}",) if unread else ()
    return Listing(rows, classes, _digest(root, rows, notes), GROUP if pattern else STEM, sentences)


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
            "List the images in a table with the column split (docs/folder.md), or name the splits in split.json.",
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


def read_notes(root: Path) -> dict[str, dict[str, Any] | None]:
    """Return the content of each JSON file of a tree; None for one that does not exist."""
    return {name: _read_note(root / name) if (root / name).is_file() else None for name in NOTES}


def _read_note(path: Path) -> dict[str, Any]:
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


def splits_of(groups: Collection[str], listed: Mapping[str, Any] | None, path: Path) -> dict[str, str]:
    """Return group -> split, from the content of split.json or by a stable hash.

    Raises ``UserError`` if split.json has other keys than train, val and test, lists a stem twice or a stem without an
    image, or omits a stem.
    """
    if listed is None:
        return {group: split_of(group) for group in groups}
    if set(listed) != set(SPLITS) or not all(_is_list_of_names(listed[s]) for s in SPLITS):
        raise UserError(
            f"'{path}' must have the keys train, val and test, each with a list of file stems; it has "
            f"{', '.join(map(str, listed)) or 'none'}.",
            'For example: {"train": ["cat-01"], "val": ["cat-02"], "test": ["cat-03"]}',
        )
    splits: dict[str, str] = {}
    for split in SPLITS:
        for stem in listed[split]:
            if splits.setdefault(stem, split) != split:
                raise UserError(
                    f"The stem '{stem}' is in both {splits[stem]} and {split} of '{path}'.",
                    "One stem belongs to one split, in every domain: take it out of one list.",
                )
    if absent := sorted(set(splits) - set(groups)):
        raise UserError(
            f"'{path}' names {len(absent)} stems that no image has, '{absent[0]}' first.",
            "A stem is a file's name without folder and ending: photo/cat/cat-01.jpg has the stem cat-01.",
        )
    if omitted := sorted(set(groups) - set(splits)):
        raise UserError(
            f"'{path}' leaves out {len(omitted)} stems that have images, '{omitted[0]}' first.",
            "Put every stem in one of the three lists, or delete split.json to have the split made by a stable hash.",
        )
    return splits


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _digest(root: Path, rows: Sequence[Row], notes: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
    for row, (size, _) in zip(rows, statuses([row.path for row in rows]), strict=True):
        digest.update(f"{row.path.relative_to(root).as_posix()}\t{size}\n".encode())
    return digest.hexdigest()[:16]


def draw_example(folder: Path) -> None:
    """Write a small example tree: three domains with the same drawings.

    The stems are chosen so that every class has six images for training and three each for validation and test.
    """
    for label, kind in enumerate(("cat", "dog", "guinea_pig")):
        by_split: dict[str, list[str]] = {split: [] for split in SPLITS}
        for stem in (f"{kind}-{number:03d}" for number in range(1000)):
            by_split[split_of(stem)].append(stem)
        stems = sorted(by_split["train"][:6] + by_split["val"][:3] + by_split["test"][:3])
        for domain, (name, ending) in enumerate({"photo": "jpg", "scan": "png", "sketch": "webp"}.items()):
            (folder / name / kind).mkdir(parents=True, exist_ok=True)
            for number, stem in enumerate(stems):
                picture(label, domain, number).save(folder / name / kind / f"{stem}.{ending}")
    (folder / CONTEXTS).write_text(json.dumps({"scan": "a scan of a picture of a {}."}), encoding="utf-8")
