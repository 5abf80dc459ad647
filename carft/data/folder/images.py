"""Your own data as one table of images, whether a folder tree or a table lists them. No torch."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from carft.core.errors import UserError
from carft.data.sets import Index, concatenation

SPLITS = ("train", "val", "test")
#: shares where nothing names the split of a group
TRAIN, VAL = 0.6, 0.2
#: what a group is called: where the file's name gives it, and where a pattern or a column does
STEM, GROUP = "file stem", "group"
#: name and prompt of the domain of data without domains
ALONE, ALONE_PROMPT = "images", "a photo of a {}."


class Row(NamedTuple):
    """One image."""

    where: str
    """The row of the table or the domain of the tree, for messages."""
    path: Path
    label: str
    """Its class, as folders or the table write it."""
    domain: str
    group: str
    split: str
    """Empty where nothing names it."""


@dataclass(frozen=True)
class Listing:
    """What a folder tree or a table lists."""

    rows: Sequence[Row]
    classes: tuple[str, ...]
    """All classes, sorted."""
    digest: str
    unit: str
    """What a group is called."""
    unread: tuple[str, ...]
    """Sentences on files or columns that are not read, and on columns that a table lacks."""


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
    domains: tuple[str, ...]
    """Names of the domains, sorted."""
    folders: tuple[str, ...]
    """Classes as folders or the table write them, sorted; their positions are the labels."""
    words: tuple[str, ...]
    """Class names in prompts, in label order."""
    prompts: tuple[str, ...]
    """One prompt per domain."""
    images: Mapping[str, Index]
    """Domain -> images, by class and path."""
    splits: Mapping[str, str]
    """Group -> split."""
    digest: str
    """16 hexadecimal digits of sha256 over relative paths, file sizes, and the three JSON files or the table's rows."""
    unit: str
    """What a group is called."""
    unread: tuple[str, ...]
    """As of :class:`Listing`."""

    @property
    def base(self) -> Path:
        """The folder that the images lie below."""
        return self.root if self.root.is_dir() else self.root.parent

    @property
    def version(self) -> str:
        """The version of the data."""
        return f"folder-{self.digest}"

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


def images_by_domain(listing: Listing) -> dict[str, Index]:
    """Return domain -> images, by class and path."""
    labels = {name: label for label, name in enumerate(listing.classes)}
    columns = defaultdict(list)
    for row in listing.rows:
        columns[row.domain].append((labels[row.label], str(row.path), row.path, row.group))
    images = {}
    for domain in sorted(columns):
        numbers, _, paths, groups = zip(*sorted(columns[domain]), strict=True)
        images[domain] = Index(paths, numbers, groups)
    return images


# groups and splits


def split_of(group: str) -> str:
    """Return the split of a group where nothing names it: a stable hash of the group, 60 / 20 / 20."""
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    return "train" if share < TRAIN else "val" if share < TRAIN + VAL else "test"


def splits_by_group(root: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Return group -> split. root: of the table. Raises ``UserError`` for a group in two splits."""
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


def require_one_spelling(root: Path, column: str, values: Iterable[tuple[str, str]]) -> None:
    """Raise ``UserError`` for two values that differ in case only.

    root: of the table. column: ``class`` or ``domain``. values: each value, and where it stands, for messages.
    """
    seen: dict[str, tuple[str, str]] = {}
    for value, where in values:
        other, first = seen.setdefault(value.casefold(), (value, where))
        if other != value:
            raise UserError(
                f"'{root}', {where}: the {column} '{value}' is spelled '{other}' in {first}.",
                f"Rename one: two {'classes' if column == 'class' else 'domains'} must differ in more than case.",
            )


def complete_classes(root: Path, classes: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return all classes, sorted, from domain -> classes. Raises ``UserError`` if a domain lacks one."""
    union = {name for names in classes.values() for name in names}
    for domain, names in classes.items():
        if missing := sorted(union - set(names)):
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


def class_words(classes: Sequence[str], note: Mapping[str, Any], path: Path | str) -> tuple[str, ...]:
    """Return the words of classes: those of the note, else the name with spaces. path: what gives them, for messages.

    Raises ``UserError`` for an unknown class, words that two classes share, and a brace.
    """
    given = _strings(note, classes, "class folder", path)
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


def domain_prompts(domains: tuple[str, ...], note: Mapping[str, Any], path: Path | str) -> tuple[str, ...]:
    """Return the prompts of domains: those of the note, else one with the domain's name; a photo without domains.

    Raises ``UserError`` for an unknown domain and for a prompt without exactly one ``{}``.
    """
    default = {ALONE: ALONE_PROMPT} if domains == (ALONE,) else {d: _default_prompt(d) for d in domains}
    prompts = default | _strings(note, domains, "domain", path)
    for name, prompt in prompts.items():
        if prompt.count("{}") != 1 or any(brace in prompt.replace("{}", "") for brace in "{}"):
            raise UserError(
                f"The prompt '{prompt}' of the domain '{name}' must have exactly one {{}}, where the class name goes.",
                f"Write it in '{path}', for example: " + '{"sketch": "a pencil sketch of a {}."}',
            )
    return tuple(prompts.values())


def prompts_to_edit(table: ImageTable) -> dict[str, str]:
    """Return domain -> prompt, for a file that a person edits.

    A default prompt gets the article of its domain there, as "an infrared of a {}.". The default itself stays as it is:
    records of data without such a file rest on it.
    """
    prompts = dict(zip(table.domains, table.prompts, strict=True))
    unedited = (d for d, prompt in prompts.items() if d[0].lower() in "aeiou" and prompt == _default_prompt(d))
    return prompts | {domain: f"an{prompts[domain][1:]}" for domain in unedited}


def _default_prompt(domain: str) -> str:
    return f"a {domain.replace('_', ' ').replace('{', '').replace('}', '')} of a {{}}."


def _strings(note: Mapping[str, Any], names: Sequence[str], what: str, path: Path | str) -> dict[str, str]:
    """Return the strings of a JSON file by name. Raises ``UserError`` for an unknown name or another type of value."""
    for name, value in note.items():
        if name not in names:
            raise UserError(f"'{path}' names '{name}', which is no {what}.", f"Known: {', '.join(names[:12])}.")
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"'{path}' gives no words for '{name}'.", "Give a string.")
    return dict(note)
