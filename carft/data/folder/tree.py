"""Your own data as they were read, whatever their layout. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.core.errors import UserError
from carft.data.folder.splits import SPLITS
from carft.data.sets import Index, concatenation

#: what a group is called: where the file's name gives it, and where a pattern or a column does
STEM, GROUP = "file stem", "group"
#: name and prompt of the domain of data without domains
ALONE, ALONE_PROMPT = "images", "a photo of a {}."


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
class Tree:
    """A checked tree."""

    root: Path
    """The folder, or the table."""
    domains: tuple[str, ...]
    """Names of the domains, sorted."""
    folders: tuple[str, ...]
    """Names of the class folders, sorted; their positions are the labels."""
    words: tuple[str, ...]
    """Class names in prompts, in label order."""
    prompts: tuple[str, ...]
    """One prompt per domain."""
    images: Mapping[str, Index]
    """Domain -> images."""
    splits: Mapping[str, str]
    """Group -> split."""
    digest: str
    """16 hexadecimal digits of sha256 over relative paths, file sizes, and the three JSON files or the table's rows."""
    unit: str = STEM
    """What a group is called."""

    @property
    def base(self) -> Path:
        """The folder that the images lie below."""
        return self.root if self.root.is_dir() else self.root.parent

    def part(self, domain: str, split: str) -> Index:
        """Return the images of a domain in a split."""
        index = self.images[domain]
        return index.rows([i for i, group in enumerate(index.groups) if self.splits[group] == split])

    def split_sizes(self, id_domains: Collection[str], ood_domains: Collection[str]) -> list[SplitSize]:
        """Return images and groups of every split of every domain, for a task with these domains."""
        parts = ((domain, split, self.part(domain, split)) for domain in self.domains for split in SPLITS)
        return [
            SplitSize(
                domain,
                split,
                len(part),
                len(set(part.groups)),
                used=domain in id_domains or (domain in ood_domains and split == "test"),
            )
            for domain, split, part in parts
        ]

    def sets(self, id_domains: Sequence[str], ood_domains: Sequence[str]) -> dict[str, Index]:
        """Return the images that a task with these domains uses, by set: train, val, test and ood/<domain>."""
        used = {split: concatenation([self.part(domain, split) for domain in id_domains]) for split in SPLITS}
        return used | {f"ood/{domain}": self.part(domain, "test") for domain in ood_domains}


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
    found = re.search(pattern, path.name)
    if found is None or not found[found.re.groups]:
        raise UserError(
            f"The group pattern '{pattern}' finds nothing in the name of '{path}'.",
            "Change the pattern, or take the image out of the folder.",
        )
    return found[found.re.groups]


def _require_one_spelling(root: Path, classes: Mapping[str, Sequence[str]]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for domain, names in classes.items():
        for name in names:
            other, where = seen.setdefault(name.casefold(), (name, domain))
            if other != name:
                raise UserError(
                    f"The class '{name}' of '{root / domain}' is spelled '{other}' in the domain '{where}'.",
                    "Rename one of the two folders.",
                )


def checked_classes(root: Path, classes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return all classes, from domain -> classes.

    Raises ``UserError`` if a domain lacks one or has two that differ in case only.
    """
    for domain, names in classes.items():
        seen: dict[str, str] = {}
        for name in names:
            if (other := seen.setdefault(name.casefold(), name)) != name:
                raise UserError(
                    f"'{root / domain}' has the class twice, as '{other}' and '{name}'.", "Put both into one folder."
                )
    union = sorted({name for names in classes.values() for name in names})
    _require_one_spelling(root, classes)
    for domain, names in classes.items():
        if missing := sorted(set(union) - set(names)):
            raise UserError(
                f"The class '{missing[0]}' is missing in the domain '{domain}' of '{root}'.",
                "Every domain must have every class: add images there, or take the class out of all domains.",
            )
    if len(union) < 2:
        raise UserError(
            f"'{root}' has fewer than two classes.",
            "The images lie as <domain>/<class>/<image>, or a table has the column class.",
        )
    return tuple(union)
