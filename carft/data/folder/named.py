"""Tasks on your own data: their names, domains and words, and the YAML files that describe them (docs/folder.md).

The specification of a cell holds the name and the version of the data. Where the folder lies is known to this machine
alone. No torch.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from carft.core.errors import UserError, unknown
from carft.core.files import given_path, read_given
from carft.core.yaml_file import line_of, parse_yaml
from carft.data.folder.images import ALONE, ImageTable
from carft.data.folder.reading import TABLES, read

#: most characters of a name that a user gives
LONGEST = 60
_PART = r"[^\W_][\w .+()-]*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})?")
#: not allowed as the name of a suite: records use it for means over suites
RESERVED = "mean"
#: name of the tasks file where a folder is given
DEFAULT = "carft.yaml"
#: the metrics that a task can be decided in
Metric = Literal["top1", "mean_per_class"]


@dataclass(frozen=True)
class NamedTask:
    """A task on your own data."""

    name: str
    """``family/task``, or one word for a task without a family."""
    version: str
    """Version of the data: the digest of the images, and that of domains, class names, prompts and templates."""
    id_domains: tuple[str, ...]
    """Domains in distribution, sorted."""
    ood_domains: tuple[str, ...]
    """Domains under shift, sorted."""
    classes: tuple[str, ...]
    """Class names in prompts, in label order."""
    prompts: tuple[str, ...]
    """One prompt for each domain of the data, by domain."""
    held_out: bool = False
    """Whether the task is one of ``leave_one_out``."""
    whole: bool = False
    """Whether a domain under shift is tested on all images whose groups no domain in distribution has."""
    templates: tuple[str, ...] = ()
    """Prompts of the class head and of the bank ``standard``; empty for CLIP's 80 for ImageNet."""
    metric: Metric = "top1"
    """The metric that decides the task; see :class:`carft.data.card.Card`. No part of the version: records hold all."""
    private: bool = False
    """Whether no picture of its images enters a report. No part of the version."""
    folder: str = ""
    """Path of the folder or table on this machine; empty where that is not known."""
    file: str = ""
    """Path of the tasks file on this machine; empty where that is not known."""

    @property
    def base(self) -> str:
        """Path of the folder that the images lie below; empty where that is not known."""
        path = Path(self.folder)
        if path.suffix.lower() in TABLES:
            return str(path.parent)
        return self.folder

    @property
    def family(self) -> str:
        """What stands before the last slash of the name; empty for a task without a family."""
        return self.name.rpartition("/")[0]


# domains and words


def _chosen_domains(
    table: ImageTable, id_domains: Collection[str], ood_domains: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the domains in and out of distribution, sorted. By default the first is in it, all others out of it."""
    domains, inside, outside = set(table.domains), set(id_domains), set(ood_domains)
    for name in table.domains:
        if "/" in name:
            raise UserError(f"The domain '{name}' of '{table.root}' has a slash in its name.", "Write it without one.")
    for asked in sorted((inside | outside) - domains):
        raise unknown(f"domain in '{table.root}' called", asked, domains)
    if len(domains) == 1:
        return table.domains, ()
    if not inside and not outside:
        inside = {table.domains[0]}
    inside = inside or domains - outside
    outside = outside or domains - inside
    if not inside or not outside or inside & outside:
        raise UserError(
            f"'{table.root}' needs a domain in distribution, another out of distribution, and none both in and out.",
            f"Its domains: {', '.join(table.domains)}.",
        )
    if RESERVED in outside:
        raise UserError(f"A domain out of distribution cannot be called '{RESERVED}'.", "Rename its folder.")
    return tuple(sorted(inside)), tuple(sorted(outside))


def _words_of(what: str, default: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the words of each class or domain: those that are given, else the default."""
    for name, words in given.items():
        if name not in default:
            raise unknown(what, name, default)
        if not words.strip():
            raise UserError(f"There are no words for the {what} '{name}'.", "Write some.")
    return {**default, **given}


def _class_words(classes: Sequence[str], given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words of classes. Raises ``UserError`` for words that two classes share."""
    words = _words_of("class", {name: name.replace("_", " ") for name in classes}, given)
    first: dict[str, str] = {}
    for name, word in words.items():
        other = first.setdefault(word.strip().casefold(), name)
        if other != name:
            raise UserError(
                f"The classes '{other}' and '{name}' are both called '{word}'.",
                "Put both into one folder, or give them different words with class_names in the tasks file.",
            )
    return tuple(word.strip() for word in words.values())


def _domain_prompts(domains: tuple[str, ...], given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the prompts of domains. Raises ``UserError`` for a prompt without exactly one ``{}``."""
    default = {domain: default_prompt(domain) for domain in domains}
    if domains == (ALONE,):
        default = {ALONE: "a photo of a {}."}
    prompts = _words_of("domain", default, given)
    for name, prompt in prompts.items():
        require_place(f"The prompt '{prompt}' of the domain '{name}'", prompt)
    return tuple(prompts.values())


def require_place(what: str, prompt: str) -> None:
    """Raise ``UserError`` for a prompt without exactly one ``{}``."""
    if not re.fullmatch(r"[^{}]*\{\}[^{}]*", prompt):
        raise UserError(
            f"{what} must have exactly one {{}}, where the class name goes.",
            'For example: "a pencil sketch of a {}."',
        )


def default_prompt(domain: str) -> str:
    """Return the prompt of a domain where nothing gives one. Versions of data rest on it."""
    return f"a {domain.replace('_', ' ').replace('{', '').replace('}', '')} of a {{}}."


# tasks files


class TaskEntry(BaseModel, extra="forbid", strict=True, frozen=True):
    """One task, or one for each domain."""

    name: str
    """``FAMILY/NAME``, or a name without a family."""
    path: str
    """The folder or table; a relative path is one from the file's own folder."""
    id_domains: list[str] = []
    """Domains to train on; default: the first."""
    ood_domains: list[str] = []
    """Domains under shift; default: the others."""
    leave_one_out: bool = False
    """Whether it is a family of one task for each domain, with that domain under shift and all others not."""
    whole: bool = False
    """Whether a domain under shift is tested on all images whose groups no domain in distribution has; default: on
    those of the split ``test``."""
    class_names: dict[str, str] = {}
    """Class -> words."""
    prompts: dict[str, str] = {}
    """Domain -> prompt with one ``{}``."""
    templates: list[str] = []
    """Prompts with one ``{}`` of the class head and of CAR-FT's contexts; default: CLIP's 80 for ImageNet."""
    metric: Metric = "top1"
    """The metric that decides the task."""
    private: bool = False
    """Whether no picture of its images enters a report."""

    def tasks(self, file: Path) -> Iterator[NamedTask]:
        """Yield the tasks of the entry. file: the tasks file.

        Raises ``UserError`` for a name, data, domains or words that cannot be.
        """
        name = checked_name(self.name)
        table = read((file.parent / given_path(self.path)).resolve())
        if not self.leave_one_out:
            yield self.task(name, table, self.id_domains, self.ood_domains, file)
            return
        if self.id_domains or self.ood_domains:
            raise UserError("leave_one_out chooses the domains itself.", "Leave id_domains and ood_domains out.")
        if len(table.domains) < 2:
            raise UserError(f"'{table.root}' has one domain, and none can be left out.", "Leave leave_one_out out.")
        for one in table.domains:
            yield self.task(f"{name}/{one}", table, (), (one,), file)

    def task(
        self, name: str, table: ImageTable, id_domains: Collection[str], ood_domains: Collection[str], file: Path
    ) -> NamedTask:
        """Return the task of this name and these domains on a table."""
        inside, outside = _chosen_domains(table, id_domains, ood_domains)
        classes = _class_words(table.classes, self.class_names)
        prompts = _domain_prompts(table.domains, self.prompts)
        for template in self.templates:
            require_place(f"The template '{template}'", template)
        facts: list[Any] = [inside, outside, classes, prompts]
        if self.templates:
            facts.append({"templates": self.templates})
        if self.whole:
            facts.append({"whole": True})
        return NamedTask(
            name=name,
            version=f"{table.version}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]}",
            id_domains=inside,
            ood_domains=outside,
            classes=classes,
            prompts=prompts,
            held_out=self.leave_one_out,
            whole=self.whole,
            templates=tuple(self.templates),
            metric=self.metric,
            private=self.private,
            folder=str(table.root),
            file=str(file.resolve()),
        )


class TasksFile(BaseModel, extra="forbid", strict=True, frozen=True):
    """The file."""

    tasks: list[TaskEntry] = Field(min_length=1)


def checked_name(name: str) -> str:
    """Return the name of a task unchanged. Raises ``UserError`` for one that is not allowed."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise UserError(
            f"'{name}' cannot be the name of a task.",
            f"Write NAME or FAMILY/NAME, with at most {LONGEST} letters, digits, spaces or . + - _ ( ).",
        )
    return name


def tasks_in(path: Path, names: Sequence[str] | None = None) -> list[NamedTask]:
    """Return the tasks of a file, or of the ``carft.yaml`` of a folder: all, or those of these names and families.

    Raises ``UserError``, with the line, for what cannot be, and for a name that the file does not have.
    """
    if path.is_dir():
        path = path / DEFAULT
    text = read_given(path, "tasks file", "Give the path of a YAML file.")
    tasks: dict[str, NamedTask] = {}
    for number, entry in enumerate(parse_yaml(TasksFile, text, str(path), "tasks file").tasks):
        try:
            for task in entry.tasks(path):
                if task.name in tasks:
                    raise UserError(f"There are two tasks called '{task.name}'.", "Give each its own name.")
                tasks[task.name] = task
        except UserError as error:
            line = line_of(text, ["tasks", str(number)])
            raise UserError(f"{path}, line {line}: {error.message}", error.hint) from error
    chosen: dict[str, NamedTask] = {}
    for name in tasks if names is None else names:
        of_name = [task for task in tasks.values() if name in (task.name, task.family)]
        if not of_name:
            raise unknown(f"task in '{path}' called", name, tasks)
        for task in of_name:
            chosen[task.name] = task
    return list(chosen.values())
