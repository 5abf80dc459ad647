"""Your own data as one table of images, whether a folder tree or a file lists them. No torch."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from carft.core.errors import UserError, first_of
from carft.data.index import Index

SPLITS: tuple[str, ...] = ("train", "val", "test")
#: shares where nothing names the split of a group
TRAIN, VAL = 0.6, 0.2
#: name of the domain of data without domains
ALONE = "images"


class ImageRow(NamedTuple):
    """One image."""

    path: Path
    label: str
    """Its class, as folders or the file write it."""
    domain: str
    group: str
    split: str
    """Empty where nothing names it."""


@dataclass(frozen=True)
class ImageTable:
    """A checked table of images."""

    root: Path
    """The folder, or the file of the table."""
    images: Mapping[str, Index]
    """Domain -> images, by class and path; the domains are sorted."""
    classes: tuple[str, ...]
    """Classes as folders or the file write them, sorted; their positions are the labels."""
    splits: Mapping[str, str]
    """Group -> split."""
    digest: str
    """16 hexadecimal digits of sha256 over relative paths and file sizes, and over the rows of a file."""
    notes: tuple[str, ...]
    """Sentences on files or columns that are not read, and on groups that a person may not mean."""

    @staticmethod
    def of(root: Path, rows: Sequence[ImageRow], digest: str, notes: Sequence[str]) -> ImageTable:
        """Return the table of these rows. Other arguments: as of the fields.

        Raises ``UserError`` for fewer than two classes, a domain that lacks a class, and a group in two splits.
        """
        classes = sorted({row.label for row in rows})
        domains = sorted({row.domain for row in rows})
        if len(classes) < 2:
            raise UserError(
                f"'{root}' has fewer than two classes.",
                "The images lie as <domain>/<class>/<image>, or a table has the column class.",
            )
        parts: dict[str, list[ImageRow]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: (row.label, str(row.path))):
            parts[row.domain].append(row)
        images = {}
        number = {name: label for label, name in enumerate(classes)}
        for domain in domains:
            part = parts[domain]
            missing = sorted({*classes} - {row.label for row in part})
            if missing:
                raise UserError(
                    f"The class '{missing[0]}' is missing in the domain '{domain}' of '{root}'.",
                    "Every domain must have every class: add images there, or take the class out of all domains.",
                )
            paths, labels, groups = [], [], []
            for row in part:
                paths.append(row.path)
                labels.append(number[row.label])
                groups.append(row.group)
            images[domain] = Index(tuple(paths), tuple(labels), tuple(groups))
        notes = list(notes)
        folded = {name.casefold(): name for name in classes}
        for name in classes:
            other = folded[name.casefold()]
            if other != name:
                notes.append(f"The classes '{name}' and '{other}' differ only in case.")
        return ImageTable(root, images, tuple(classes), _splits_by_group(root, rows), digest, tuple(notes))

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, sorted."""
        return tuple(self.images)

    @property
    def base(self) -> Path:
        """The folder that the images lie below."""
        return self.root if self.root.is_dir() else self.root.parent

    @property
    def version(self) -> str:
        """The version of the data."""
        return f"folder-{self.digest}"

    @property
    def paths(self) -> list[Path]:
        """The files of all images."""
        return list(Index.of([*self.images.values()]).paths)

    def with_whole_shifts(self, id_domains: Sequence[str]) -> ImageTable:
        """Return the table with all groups for test that no domain in distribution has an image of."""
        inside: set[str] = set()
        for domain in id_domains:
            inside.update(self.images[domain].groups)
        splits = {group: split if group in inside else "test" for group, split in self.splits.items()}
        return replace(self, splits=splits)

    def part(self, domain: str, split: str) -> Index:
        """Return the images of a domain in a split."""
        index = self.images[domain]
        return index.rows([row for row, group in enumerate(index.groups) if self.splits[group] == split])

    def sets(self, id_domains: Sequence[str], ood_domains: Sequence[str]) -> dict[str, Index]:
        """Return the images that a task with these domains uses, by set: train, val, test and ood/<domain>."""
        used = {}
        for split in SPLITS:
            used[split] = Index.of([self.part(domain, split) for domain in id_domains])
        for domain in ood_domains:
            used[f"ood/{domain}"] = self.part(domain, "test")
        return used


def ambiguous_stems(rows: Sequence[ImageRow]) -> list[str]:
    """Return a sentence where groups, which are file stems, stand in several classes: unlike things are one group."""
    classes: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        classes[row.group].add(row.label)
    several = sorted(stem for stem, labels in classes.items() if len(labels) > 1)
    if not several:
        return []
    return [
        f"{len(several)} of {len(classes)} file names stand in several classes, '{several[0]}' in "
        f"{first_of(sorted(classes[several[0]]), 3)} first: their images are one group, as pictures of one thing. If "
        "each file shows another thing, list the images in a table with the column group (docs/folder.md)."
    ]


def split_of(group: str) -> str:
    """Return the split of a group where nothing names it: a stable hash of the group, 60 / 20 / 20."""
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    if share < TRAIN:
        return "train"
    return "val" if share < TRAIN + VAL else "test"


def _splits_by_group(root: Path, rows: Sequence[ImageRow]) -> dict[str, str]:
    first: dict[str, tuple[int, str]] = {}
    for number, row in enumerate(rows, start=1):
        other, split = first.setdefault(row.group, (number, row.split))
        if split != row.split:
            both = f"is in {row.split}, and in {split} in row {other}"
            problem = f"'{root}', row {number}: the group '{row.group}' {both}."
            raise UserError(problem, "All images of a group belong to one split.")
    return {group: split or split_of(group) for group, (_, split) in first.items()}
