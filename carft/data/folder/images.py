"""Your own data as one table of images, whether a folder tree or a file lists them. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from carft.core.errors import UserError
from carft.data.folder import group_search
from carft.data.folder.copies import equal_files, merged_groups
from carft.data.index import Index

SPLITS: tuple[str, ...] = ("train", "val", "test")
#: shares where nothing names the split of a group
TRAIN, VAL = 0.6, 0.2
#: what a group is called: where the file's name gives it, and where a pattern or a column does
STEM: str = "file stem"
GROUP: str = "group"
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
    unit: str
    """What a group is called."""
    unread: tuple[str, ...]
    """Sentences on files or columns that are not read, and on columns that a file lacks."""
    unreadable: frozenset[Path] = frozenset()
    """Images that are left out of parts."""

    @staticmethod
    def of(root: Path, rows: Sequence[ImageRow], digest: str, unit: str, unread: Iterable[str]) -> ImageTable:
        """Return the table of these rows. Other arguments: as of the fields.

        Raises ``UserError`` for classes or domains that differ in case only, fewer than two classes, a domain that
        lacks a class, and a group in two splits.
        """
        classes = sorted({row.label for row in rows})
        domains = sorted({row.domain for row in rows})
        for kind, names in (("class", classes), ("domain", domains)):
            first: dict[str, str] = {}
            for name in names:
                other = first.setdefault(name.casefold(), name)
                if other != name:
                    raise UserError(
                        f"'{root}' has a {kind} '{other}' and a {kind} '{name}'.",
                        "Rename one: they must differ in more than case.",
                    )
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
        return ImageTable(root, images, tuple(classes), _splits_by_group(root, rows), digest, unit, tuple(unread))

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

    def name_of(self, path: Path) -> str:
        """Return the path of an image from the folder."""
        return path.relative_to(self.base).as_posix()

    @cached_property
    def equal(self) -> list[list[Path]]:
        """The held-out images that have the same bytes, by split; those with no equal are left out."""
        held_out: dict[str, list[Path]] = {"val": [], "test": []}
        for index in self.images.values():
            for path, group in zip(index.paths, index.groups, strict=True):
                if self.splits[group] in held_out:
                    held_out[self.splits[group]].append(path)
        return [*equal_files(held_out["val"]), *equal_files(held_out["test"])]

    @cached_property
    def _merged(self) -> dict[str, str]:
        """Group -> the group that it counts as, since one has a copy of an image of the other."""
        group_of: dict[Path, str] = {}
        for index in self.images.values():
            group_of.update(zip(index.paths, index.groups, strict=True))
        return merged_groups(group_of, self.equal)

    def with_whole_shifts(self, id_domains: Sequence[str]) -> ImageTable:
        """Return the table with all groups for test that no domain in distribution has an image of."""
        inside: set[str] = set()
        for domain in id_domains:
            inside.update(self.images[domain].groups)
        splits = {group: split if group in inside else "test" for group, split in self.splits.items()}
        return replace(self, splits=splits)

    def stems_of_several_classes(self) -> dict[str, list[str]]:
        """Return stem -> its classes, of stems that are a group and stand in several classes; both sorted."""
        if self.unit != STEM:
            return {}
        classes: dict[str, set[str]] = defaultdict(set)
        for index in self.images.values():
            for group, label in zip(index.groups, index.labels, strict=True):
                classes[group].add(self.classes[label])
        several = {}
        for stem in sorted(classes):
            if len(classes[stem]) > 1:
                several[stem] = sorted(classes[stem])
        return several

    def part(self, domain: str, split: str) -> Index:
        """Return the images of a domain in a split, without those that are left out.

        Held-out images that have the same bytes are in one group.
        """
        index = self.images[domain]
        rows = [row for row, group in enumerate(index.groups) if self.splits[group] == split]
        part = index.rows(rows)
        if split != "train" and self._merged:
            groups = tuple(self._merged.get(group, group) for group in part.groups)
            part = replace(part, groups=groups)
        return part.without(self.unreadable)

    def sets(self, id_domains: Sequence[str], ood_domains: Sequence[str]) -> dict[str, Index]:
        """Return the images that a task with these domains uses, by set: train, val, test and ood/<domain>."""
        used = {}
        for split in SPLITS:
            used[split] = Index.of([self.part(domain, split) for domain in id_domains])
        for domain in ood_domains:
            used[f"ood/{domain}"] = self.part(domain, "test")
        return used


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


def groups_of(paths: Sequence[Path], base: Path, pattern: str) -> list[str]:
    """Return the group of each image: what a pattern finds in the file's name, or the stem without a pattern.

    base: the folder that the images lie below. pattern: a regular expression. One with a slash is searched in the path
    from ``base``. Where it has parentheses, the group is what stands in the first ones. Raises
    ``UserError`` for a pattern that is none, finds nothing, or exceeds the limits of :mod:`group_search`.
    """
    if not pattern:
        return [path.stem for path in paths]
    if "/" in pattern:
        searched_in, names = "path", [os.path.relpath(path, base) for path in paths]
    else:
        searched_in, names = "name", [path.name for path in paths]
    asked = json.dumps([pattern, names])
    command = [sys.executable, "-I", group_search.__file__]
    searched = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if searched.returncode:
        raise UserError(
            f"The group pattern '{pattern}' takes too long or too much memory on the names of the files.",
            "Write it without a repeated part inside a repeated part, such as '(a+)+'.",
        )
    answer = json.loads(searched.stdout)
    if "error" in answer:
        raise UserError(
            f"The group pattern '{pattern}' is no regular expression: {answer['error']}.",
            "Write one that finds the group in a file's name, such as '^(patient[0-9]+)'.",
        )
    for path, group in zip(paths, answer["groups"], strict=True):
        if not group:
            raise UserError(
                f"The group pattern '{pattern}' finds nothing in the {searched_in} of '{path}'.",
                "Change the pattern, or take the image out of the folder.",
            )
    return answer["groups"]
