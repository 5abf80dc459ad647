"""The tree of your own data, <domain>/<class>/<image>, read and checked. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from carft.core.errors import CorruptFile, UserError
from carft.data.fixtures import begin, picture
from carft.data.folder.splits import split_of, splits_of
from carft.data.sets import DataSet, Index
from carft.data.trees import IMAGES

CLASS_NAMES, CONTEXTS, SPLIT = "classnames.json", "contexts.json", "split.json"


@dataclass(frozen=True)
class Tree:
    """A checked tree."""

    root: Path
    domains: tuple[str, ...]
    """Names of the domains, sorted."""
    folders: tuple[str, ...]
    """Names of the class folders, sorted; their positions are the labels."""
    words: tuple[str, ...]
    """Class names in prompts, in label order."""
    prompts: tuple[str, ...]
    """One prompt per domain."""
    images: Mapping[str, Index]
    """Domain -> images, grouped by file stem."""
    splits: Mapping[str, str]
    """File stem -> split."""
    digest: str
    """16 hexadecimal digits of sha256 over relative paths, file sizes and the three JSON files."""

    def part(self, domain: str, split: str) -> Index:
        """Return the images of a domain in a split."""
        index = self.images[domain]
        return index.rows([i for i, stem in enumerate(index.groups) if self.splits[stem] == split])


def read(root: Path) -> Tree:
    """Return the tree below ``root``. Raises ``UserError`` for an invalid or ambiguous tree."""
    root = root.resolve()
    if not root.is_dir():
        raise UserError(f"There is no folder '{root}'.", "It must hold <domain>/<class>/<image> (docs/folder.md).")
    return _read(root, _stamp(root))


def _stamp(root: Path) -> tuple[tuple[str, int], ...]:
    """Return modification times of folders and JSON files, the cache key of :func:`_read`."""
    folders = [root, *(p for p in sorted(root.iterdir()) if p.is_dir())]
    folders += [p for d in folders[1:] for p in sorted(d.iterdir()) if p.is_dir()]
    notes = [root / name for name in (CLASS_NAMES, CONTEXTS, SPLIT) if (root / name).is_file()]
    return tuple((str(p), p.stat().st_mtime_ns) for p in (*folders, *notes))


@lru_cache(maxsize=8)
def _read(root: Path, stamp: object) -> Tree:
    domains = _folders(root, root)
    if len(domains) < 2:
        raise UserError(
            f"'{root}' has {'one domain only' if domains else 'no domain'}, and robustness under shift needs two.",
            "Lay the images out as <domain>/<class>/<image>, for example photo/cat/1.jpg and sketch/cat/1.jpg.",
        )
    classes = _classes(root, {domain: _folders(root / domain, root) for domain in domains})
    files = {domain: [_images(root / domain / name, root) for name in classes] for domain in domains}
    images = {domain: _index(root / domain, classes, files[domain]) for domain in domains}
    notes = {name: _note(root / name) for name in (CLASS_NAMES, CONTEXTS, SPLIT)}
    stems = {stem for index in images.values() for stem in index.groups}
    return Tree(
        root=root,
        domains=domains,
        folders=classes,
        words=_words(classes, notes[CLASS_NAMES] or {}, root / CLASS_NAMES),
        prompts=_prompts(domains, notes[CONTEXTS] or {}, root / CONTEXTS),
        images=images,
        splits=splits_of(stems, notes[SPLIT], root / SPLIT),
        digest=_digest(root, images, notes),
    )


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


def _classes(root: Path, classes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the class folders. Raises ``UserError`` if a domain lacks one or has two that differ in case only."""
    for domain, names in classes.items():
        seen: dict[str, str] = {}
        for name in names:
            if (other := seen.setdefault(name.casefold(), name)) != name:
                raise UserError(
                    f"'{root / domain}' has the class twice, as '{other}' and '{name}'.", "Put both into one folder."
                )
    union = sorted({name for names in classes.values() for name in names})
    for domain, names in classes.items():
        if missing := sorted(set(union) - set(names)):
            raise UserError(
                f"The class '{missing[0]}' is missing in the domain '{domain}' of '{root}'.",
                "Every domain must have every class: add images there, or take the class out of all domains.",
            )
    if len(union) < 2:
        raise UserError(f"'{root}' has fewer than two classes.", "The tree is <domain>/<class>/<image>.")
    return tuple(union)


def _index(folder: Path, classes: Sequence[str], files: Sequence[Sequence[str]]) -> Index:
    rows = [(label, name) for label, names in enumerate(files) for name in names]
    return Index(
        tuple(folder / classes[label] / name for label, name in rows),
        tuple(label for label, _ in rows),
        tuple(Path(name).stem for _, name in rows),
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


def _named(note: Mapping[str, Any], known: Sequence[str], what: str, path: Path | str) -> dict[str, str]:
    """Return the strings of a JSON file by name. Raises ``UserError`` for an unknown name or another type of value."""
    for name, value in note.items():
        if name not in known:
            raise UserError(f"'{path}' names '{name}', which is no {what}.", f"Known: {', '.join(known[:12])}.")
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"'{path}' gives no words for '{name}'.", "Give a string.")
    return dict(note)


def _words(classes: Sequence[str], note: Mapping[str, Any], path: Path | str) -> tuple[str, ...]:
    given = _named(note, classes, "class folder", path)
    words = [given.get(name, name.replace("_", " ")).strip() for name in classes]
    seen: dict[str, str] = {}
    for name, word in zip(classes, words, strict=True):
        if (other := seen.setdefault(word.casefold(), name)) != name:
            raise UserError(
                f"The classes '{other}' and '{name}' are both called '{word}'.",
                f"Put both into one folder, or give them different words in '{path}'.",
            )
        if "{" in word or "}" in word:
            raise UserError(f"The class name '{word}' has a brace in it.", f"Give it other words in '{path}'.")
    return tuple(words)


def _prompts(domains: Sequence[str], note: Mapping[str, Any], path: Path | str) -> tuple[str, ...]:
    given = _named(note, domains, "domain", path)
    prompts = tuple(given.get(name, f"a {_plain(name)} of a {{}}.") for name in domains)
    for name, prompt in zip(domains, prompts, strict=True):
        if prompt.count("{}") != 1 or any(brace in prompt.replace("{}", "") for brace in "{}"):
            raise UserError(
                f"The prompt '{prompt}' of the domain '{name}' must have exactly one {{}}, where the class name goes.",
                f"Write it in '{path}', for example: " + '{"sketch": "a pencil sketch of a {}."}',
            )
    return prompts


def words_of(
    tree: Tree, class_names: Mapping[str, str], prompts: Mapping[str, str], source: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return class names and prompts of a tree, after those that are given: class folder -> words, domain -> prompt.

    source: what gives them, for messages. Raises ``UserError`` for those that cannot be.
    """
    _named(class_names, tree.folders, "class folder", source)
    _named(prompts, tree.domains, "domain", source)
    words = dict(zip(tree.folders, tree.words, strict=True)) | dict(class_names)
    shown = dict(zip(tree.domains, tree.prompts, strict=True)) | dict(prompts)
    return _words(tree.folders, words, source), _prompts(tree.domains, shown, source)


def _plain(name: str) -> str:
    return name.replace("_", " ").replace("{", "").replace("}", "")


def _digest(root: Path, images: Mapping[str, Index], notes: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
    for index in images.values():
        for path in index.paths:
            digest.update(f"{path.relative_to(root).as_posix()}\t{path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def index(data_set: DataSet, root: Path) -> dict[str, Index]:
    """Return domain -> images."""
    return dict(read(root / data_set.folder).images)


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
