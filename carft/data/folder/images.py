"""Your own data as one table of images, whether a folder tree or a file lists them. No torch."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from carft.core.errors import UserError
from carft.data.sets import Index, concatenation

SPLITS = ("train", "val", "test")
#: shares where nothing names the split of a group
TRAIN, VAL = 0.6, 0.2
#: what a group is called: where the file's name gives it, and where a pattern or a column does
STEM, GROUP = "file stem", "group"
#: name of the domain of data without domains
ALONE = "images"


class Row(NamedTuple):
    """One image."""

    where: str
    """The row of the file or the domain of the tree, for messages."""
    path: Path
    label: str
    """Its class, as folders or the file write it."""
    domain: str
    group: str
    split: str
    """Empty where nothing names it."""


@dataclass(frozen=True)
class SplitSize:
    """Images and groups of a domain in a split."""

    domain: str
    split: str
    """``train``, ``val`` or ``test``."""
    images: int
    groups: int
    used: bool
    """Whether a task with these domains uses them: of a domain under shift, only the test split is used."""


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
    unit: str
    """What a group is called."""
    unread: tuple[str, ...]
    """Sentences on files or columns that are not read, and on columns that a file lacks."""

    @staticmethod
    def of(root: Path, rows: Sequence[Row], digest: str, unit: str, unread: Iterable[str]) -> ImageTable:
        """Return the table of these rows. Other arguments: as of the fields.

        Raises ``UserError`` for classes or domains that differ in case only, fewer than two classes, a domain that
        lacks a class, and a group in two splits.
        """
        _require_one_spelling(root, "class", ((row.label, row.where) for row in rows))
        _require_one_spelling(root, "domain", ((row.domain, row.where) for row in rows))
        classes = _complete_classes(root, rows)
        labels = {name: label for label, name in enumerate(classes)}
        columns = defaultdict(list)
        for row in rows:
            columns[row.domain].append((labels[row.label], str(row.path), row.path, row.group))
        images = {}
        for domain in sorted(columns):
            numbers, _, paths, groups = zip(*sorted(columns[domain]), strict=True)
            images[domain] = Index(paths, numbers, groups)
        return ImageTable(root, images, classes, _splits_by_group(root, rows), digest, unit, tuple(unread))

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
        return [path for index in self.images.values() for path in index.paths]

    def part(self, domain: str, split: str) -> Index:
        """Return the images of a domain in a split."""
        index = self.images[domain]
        return index.rows([i for i, group in enumerate(index.groups) if self.splits[group] == split])

    def split_sizes(self, id_domains: Collection[str], ood_domains: Collection[str]) -> list[SplitSize]:
        """Return images and groups of every split of every domain, for a task with these domains."""
        sizes = []
        for domain in self.domains:
            for split in SPLITS:
                part = self.part(domain, split)
                used = domain in id_domains or (domain in ood_domains and split == "test")
                sizes.append(SplitSize(domain, split, len(part), len(set(part.groups)), used))
        return sizes

    def sets(self, id_domains: Sequence[str], ood_domains: Sequence[str]) -> dict[str, Index]:
        """Return the images that a task with these domains uses, by set: train, val, test and ood/<domain>."""
        used = {split: concatenation([self.part(domain, split) for domain in id_domains]) for split in SPLITS}
        return used | {f"ood/{domain}": self.part(domain, "test") for domain in ood_domains}


# groups and splits


def split_of(group: str) -> str:
    """Return the split of a group where nothing names it: a stable hash of the group, 60 / 20 / 20."""
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    return "train" if share < TRAIN else "val" if share < TRAIN + VAL else "test"


def _splits_by_group(root: Path, rows: Sequence[Row]) -> dict[str, str]:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.group, row)
        if other.split != row.split:
            both = f"is in {row.split}, and in {other.split} in {other.where}"
            raise UserError(
                f"'{root}', {row.where}: the group '{row.group}' {both}.", "All images of a group belong to one split."
            )
    return {group: row.split or split_of(group) for group, row in first.items()}


def checked_pattern(pattern: str, source: str) -> str:
    """Return a group pattern unchanged. Raises ``UserError`` for one that is no regular expression.

    source: what gives it, for messages.
    """
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(
            f"The group pattern '{pattern}' of '{source}' is no regular expression: {error}.",
            "Write one that finds the group in a file's name, such as '^(patient[0-9]+)'.",
        ) from error
    if groups > 1:
        raise UserError(
            f"The group pattern '{pattern}' of '{source}' has {groups} groups in parentheses.",
            "Keep one; write (?:...) for the others.",
        )
    return pattern


def group_of(path: Path, pattern: str) -> str:
    """Return the group of an image: what the pattern finds in the file's name, or the stem without a pattern."""
    if not pattern:
        return path.stem
    match = re.search(pattern, path.name)
    if match is None or not match[match.re.groups]:
        raise UserError(
            f"The group pattern '{pattern}' finds nothing in the name of '{path}'.",
            "Change the pattern, or take the image out of the folder.",
        )
    return match[match.re.groups]


# classes and domains


def _require_one_spelling(root: Path, column: str, values: Iterable[tuple[str, str]]) -> None:
    """Raise ``UserError`` for two values that differ in case only.

    column: ``class`` or ``domain``. values: each value, and where it stands, for messages.
    """
    seen: dict[str, tuple[str, str]] = {}
    for value, where in values:
        other, first = seen.setdefault(value.casefold(), (value, where))
        if other != value:
            raise UserError(
                f"'{root}', {where}: the {column} '{value}' is spelled '{other}' in {first}.",
                f"Rename one: two {'classes' if column == 'class' else 'domains'} must differ in more than case.",
            )


def _complete_classes(root: Path, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return all classes, sorted. Raises ``UserError`` if a domain lacks one."""
    classes = defaultdict(set)
    for row in rows:
        classes[row.domain].add(row.label)
    union = set().union(*classes.values())
    for domain, names in classes.items():
        if missing := sorted(union - names):
            raise UserError(
                f"The class '{missing[0]}' is missing in the domain '{domain}' of '{root}'.",
                "Every domain must have every class: add images there, or take the class out of all domains.",
            )
    if len(union) < 2:
        raise UserError(
            f"'{root}' has fewer than two classes.",
            "The images lie as <domain>/<class>/<image>, or a table has the column class.",
        )
    return tuple(sorted(union))
